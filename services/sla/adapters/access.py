"""Which role may call which method; what is not here is refused."""

from __future__ import annotations

from chassis.caller import EVERY_ROLE, STAFF, Role

ACCESS = {
    "GetDeadlines": EVERY_ROLE,
    "ListDue": STAFF | {Role.UNIT},
    "ComputeDeadline": EVERY_ROLE,
    "GetCalendar": EVERY_ROLE,
}
