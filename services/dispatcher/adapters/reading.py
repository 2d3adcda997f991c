"""Reads dispatches without locking them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from services.dispatcher.adapters.rows import DISPATCH_COLUMNS, TICKET_COLUMNS, decisions_of, dispatch_of
from services.dispatcher.adapters.tables import SCHEMA
from services.dispatcher.application.ports import Position, Seen
from services.dispatcher.domain.values import IN_HAND, UnitCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Engine

    from services.dispatcher.application.ports import DispatchFilter


class SqlReading:
    """Reads dispatches without locking them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, reference: str, unit: UnitCode | None) -> Seen | None:
        """Return the dispatch of a ticket's id or number; with `unit` only if that unit leads or helps with it."""
        narrowed = f"AND EXISTS (SELECT FROM {SCHEMA}.participant AS p WHERE p.ticket_id = d.ticket_id AND p.unit = :unit)"
        found = self._read(
            f"WHERE (t.ticket_id = :reference OR t.number = :reference) {narrowed if unit is not None else ''}",
            {"reference": reference, "unit": unit},
        )
        return next(iter(found), None)

    def page(self, wanted: DispatchFilter, after: Position | None, size: int) -> Sequence[Seen]:
        """Return up to `size` dispatches, newest assignment first, after a position."""
        source, place = "", "d"
        conditions = ["d.state <> 'UNSUBMITTED'"]
        if wanted.unit is not None:
            source, place = f"JOIN {SCHEMA}.participant AS p ON p.ticket_id = d.ticket_id AND p.unit = :unit", "p"
            if wanted.states and set(wanted.states) <= IN_HAND:
                conditions.append("p.open")
        if wanted.states:
            conditions.append("d.state = ANY(:states)")
        if after is not None:
            conditions.append(f"({place}.order_time, {place}.ticket_id) < (:time, :ticket_id)")
        return self._read(
            f"{source} WHERE {' AND '.join(conditions)} ORDER BY {place}.order_time DESC, {place}.ticket_id DESC LIMIT :size",
            {"unit": wanted.unit, "states": [state.value for state in wanted.states], "size": size, **_bound(after)},
        )

    def triage(self, after: Position | None, size: int) -> Sequence[Seen]:
        """Return up to `size` dispatches that wait for the desk, longest wait first, after a position."""
        later = "AND (d.triage_since, d.ticket_id) > (:time, :ticket_id)" if after is not None else ""
        return self._read(
            f"WHERE d.triage_since IS NOT NULL {later} ORDER BY d.triage_since, d.ticket_id LIMIT :size",
            {"size": size, **_bound(after)},
            place="triage_since",
        )

    def count_triage(self) -> int:
        """Return how many dispatches wait for the desk."""
        with self._engine.connect() as conn:
            count = conn.scalar(text(f"SELECT count(*) FROM {SCHEMA}.dispatch WHERE triage_since IS NOT NULL"))  # noqa: S608
        return int(count or 0)

    def count_unsubmitted(self) -> int:
        """Return of how many tickets something was heard, but not their submission."""
        with self._engine.connect() as conn:
            count = conn.scalar(text(f"SELECT count(*) FROM {SCHEMA}.dispatch WHERE order_time IS NULL"))  # noqa: S608
        return int(count or 0)

    def _read(self, rest: str, bound: Mapping[str, Any], *, place: str = "order_time") -> Sequence[Seen]:
        statement = text(
            f"SELECT {DISPATCH_COLUMNS}, {TICKET_COLUMNS} FROM {SCHEMA}.dispatch AS d JOIN {SCHEMA}.ticket AS t USING (ticket_id) {rest}",  # noqa: S608
        )
        with self._engine.connect() as conn:
            rows = conn.execute(statement, bound).all()
            decisions = decisions_of(conn, [row.decision_id for row in rows if row.decision_id is not None])
        return [
            Seen(
                dispatch=dispatch_of(row),
                decision=decisions.get(row.decision_id),
                position=Position(time=getattr(row, place), ticket_id=row.ticket_id),
            )
            for row in rows
        ]


def _bound(after: Position | None) -> dict[str, object]:
    return {} if after is None else {"time": after.time, "ticket_id": after.ticket_id}
