"""Which role may call which method; what is not here is refused."""

from __future__ import annotations

from chassis.caller import STAFF, Role

_PORTAL = frozenset({Role.PORTAL})
_READERS = _PORTAL | STAFF

ACCESS = {
    "SubmitTicket": _PORTAL,
    "GetTicket": _READERS,
    "ListTickets": _READERS,
    "WatchTicket": _READERS,
    "SupplementTicket": _PORTAL,
    "WithdrawTicket": _PORTAL,
    "RateTicket": _PORTAL,
    "ReopenTicket": _PORTAL,
    "GetContact": frozenset({Role.UNIT}),
}
