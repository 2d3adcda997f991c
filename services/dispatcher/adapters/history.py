"""What becomes of dispatches for good: assignments, decisions, and what units kept and returned."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from chassis.bulk import bulk_insert
from services.dispatcher.adapters.stored import DECISION
from services.dispatcher.adapters.tables import SCHEMA, assignment_table, decision_table
from services.dispatcher.domain import events
from services.dispatcher.domain.values import KeepCount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from chassis.clock import Clock
    from services.dispatcher.domain.events import Event
    from services.dispatcher.domain.values import ClassCode, DecisionRecord, TicketId, UnitCode

_LEARN = text(f"""
    INSERT INTO {SCHEMA}.keep_stat AS k (unit, class_code, kept, returned)
    SELECT * FROM unnest(CAST(:units AS text[]), CAST(:classes AS text[]), CAST(:kept AS bigint[]), CAST(:returned AS bigint[]))
    ON CONFLICT (unit, class_code) DO UPDATE SET kept = k.kept + EXCLUDED.kept, returned = k.returned + EXCLUDED.returned
""")  # noqa: S608 - the schema's name is ours

_END_FIELDS = ("accept_time", "resolve_time", "end_time", "end_reason", "return_reason", "suggested_unit")
_END = text(f"""
    UPDATE {SCHEMA}.assignment AS a SET {", ".join(f"{name} = COALESCE(row.{name}, a.{name})" for name in _END_FIELDS)}
    FROM unnest(
        CAST(:ticket_id AS text[]), CAST(:epoch AS integer[]), CAST(:accept_time AS timestamptz[]), CAST(:resolve_time AS timestamptz[]),
        CAST(:end_time AS timestamptz[]), CAST(:end_reason AS text[]), CAST(:return_reason AS text[]), CAST(:suggested_unit AS text[])
    ) AS row (ticket_id, epoch, {", ".join(_END_FIELDS)})
    WHERE a.ticket_id = row.ticket_id AND a.epoch = row.epoch
""")  # noqa: S608 - names of columns, no values


class Experience:
    """What units kept and returned, read again when it is older than `lifetime`. Shared by the threads of a process."""

    def __init__(self, clock: Clock, lifetime: timedelta) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._read: tuple[datetime, Mapping[tuple[UnitCode, ClassCode], KeepCount]] | None = None

    def counts(self, conn: Connection) -> Mapping[tuple[UnitCode, ClassCode], KeepCount]:
        """Return the counts by unit and class."""
        now = self._clock.now()
        if self._read is None or now - self._read[0] >= self._lifetime:
            rows = conn.execute(text(f"SELECT unit, class_code, kept, returned FROM {SCHEMA}.keep_stat"))  # noqa: S608
            self._read = (now, {(row.unit, row.class_code): KeepCount(kept=max(row.kept, 0), returned=row.returned) for row in rows})
        return self._read[1]


def write_history(conn: Connection, happened: Sequence[Event]) -> None:
    """Write assignments, decisions and what was learned."""
    assigned = [event for event in happened if isinstance(event, events.LeadAssigned)]
    decided = [event.decision for event in happened if isinstance(event, _DECIDED)]
    bulk_insert(conn, assignment_table, [_assignment_row(event) for event in assigned])
    bulk_insert(conn, decision_table, [_decision_row(decision) for decision in decided])
    _write_ends(conn, happened)
    _learn(conn, [event for event in happened if isinstance(event, events.KeepingLearned)])


_DECIDED = (events.LeadAssigned, events.SentToTriage, events.GuessesImproved, events.TicketDeclined)


def _assignment_row(event: events.LeadAssigned) -> dict[str, Any]:
    assignment = event.assignment
    return {
        "ticket_id": event.ticket.ticket_id,
        "epoch": assignment.epoch,
        "lead_unit": assignment.lead,
        "co_handlers": list(assignment.co_handlers),
        "class_code": assignment.class_code,
        "class_probability": assignment.class_probability,
        "district_code": assignment.district.code,
        "method": assignment.method.value,
        "dispatch_time": assignment.dispatch_time,
        "decision_id": assignment.decision_id,
    }


def _decision_row(decision: DecisionRecord) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "ticket_id": decision.ticket_id,
        "epoch": decision.epoch,
        "method": decision.method and decision.method.value,
        "decide_time": decision.decide_time,
        "decided_by": decision.decided_by,
        "record": DECISION.dumps(decision),
    }


def _write_ends(conn: Connection, happened: Sequence[Event]) -> None:
    ends: defaultdict[tuple[TicketId, int], dict[str, Any]] = defaultdict(dict)
    for event in happened:
        match event:
            case events.LeadAccepted():
                ends[event.ticket.ticket_id, event.epoch]["accept_time"] = event.time
            case events.LeadResolved():
                ends[event.ticket.ticket_id, event.epoch]["resolve_time"] = event.time
            case events.LeadReleased():
                ends[event.ticket.ticket_id, event.assignment.epoch] |= {"end_time": event.time, "end_reason": event.reason.value}
            case events.LeadReturned():
                ends[event.ticket.ticket_id, event.epoch] |= {
                    "return_reason": event.reason.value,
                    "suggested_unit": event.suggested_unit or None,
                }
            case _:
                pass
    if ends:
        columns = {name: [end.get(name) for end in ends.values()] for name in _END_FIELDS}
        conn.execute(_END, {"ticket_id": [key[0] for key in ends], "epoch": [key[1] for key in ends], **columns})


def _learn(conn: Connection, learned: Sequence[events.KeepingLearned]) -> None:
    totals: defaultdict[tuple[UnitCode, ClassCode], list[int]] = defaultdict(lambda: [0, 0])
    for event in learned:
        total = totals[event.evidence.unit, event.evidence.class_code]
        total[0] += event.evidence.kept
        total[1] += event.evidence.returned
    if totals:
        # In the order of their keys, so that two transactions never wait for each other.
        rows = sorted((unit, class_code, kept, returned) for (unit, class_code), (kept, returned) in totals.items())
        units, classes, kept, returned = zip(*rows, strict=True)
        conn.execute(_LEARN, {"units": list(units), "classes": list(classes), "kept": list(kept), "returned": list(returned)})
