"""Which role may call which method; what is not here is refused."""

from __future__ import annotations

from chassis.caller import EVERY_ROLE, STAFF, Role

_UNIT = frozenset({Role.UNIT})
_DESK = frozenset({Role.DESK})
_READERS = _UNIT | STAFF

ACCESS = {
    "GetDispatch": _READERS,
    "ListDispatches": _READERS,
    "Accept": _UNIT,
    "Return": _UNIT,
    "RequestSupplement": _UNIT,
    "RequestExtension": _UNIT,
    "ReportProgress": _UNIT,
    "Resolve": _UNIT,
    "ListTriage": STAFF,
    "DecideTriage": _DESK,
    "Transfer": _DESK,
    "DecideExtension": _DESK,
    "GetCatalogue": EVERY_ROLE,
}
