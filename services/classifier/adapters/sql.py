"""What the classifier keeps in PostgreSQL: which models have served, and what became of tickets. The hot path never comes here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from sqlalchemy import ARRAY, Connection, Engine, Text, any_, func, literal, select

from chassis.bulk import bulk_insert, bulk_upsert
from chassis.sql import SqlUnitOfWork
from services.classifier.adapters.facts_json import from_json, to_json
from services.classifier.adapters.tables import model_release, outcome, shadow_disagreement
from services.classifier.domain.outcomes import Facts, TicketId

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from types import TracebackType
    from typing import Any

    from chassis.clock import Clock
    from chassis.outbox import Outbox
    from services.classifier.domain.classification import ModelRelease
    from services.classifier.domain.outcomes import Label
    from services.classifier.telemetry import ClassifierMetrics


_FORGOTTEN_AT_ONCE = 5000


class SqlReleases:
    """`ReleaseRepository` in a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, release: ModelRelease, activate_time: datetime) -> None:
        """Remember a model; the first time that it served is kept."""
        row = {
            "version": release.version,
            "sha256": release.sha256,
            "card": json.loads(release.card),
            "activate_time": activate_time,
        }
        bulk_insert(self._connection, model_release, [row], on_conflict_ignore=True)


class ClassifierUnitOfWork:
    """One transaction. Rolls back on leaving unless `commit` was called."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> Self:
        """Open the transaction."""
        self._connection = self._engine.connect()
        self.releases = SqlReleases(self._connection)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Roll back what was not committed and give the connection back."""
        self._connection.close()

    def commit(self) -> None:
        """Make it last."""
        self._connection.commit()


class SqlOutcomes:
    """`OutcomeRepository` in a transaction. Rows are taken in the order of ids, so that two transactions cannot wait for each other."""

    def __init__(self, conn: Connection, clock: Clock) -> None:
        self._conn = conn
        self._clock = clock
        self._held: dict[TicketId, Facts] = {}
        self._put: dict[TicketId, Label | None] = {}
        self._before: dict[TicketId, _Counted] = {}

    def lock_many(self, ticket_ids: Collection[TicketId]) -> None:
        """Take tickets for this transaction, at once."""
        wanted = sorted(set(ticket_ids) - self._held.keys())
        if not wanted:
            return
        self._hold(wanted)
        missing = [ticket_id for ticket_id in wanted if ticket_id not in self._held]
        if missing:
            # Another transaction may make the same ones: whoever comes second waits for the first, and then finds its rows.
            blank = [self._row(ticket_id, Facts(), None) for ticket_id in missing]
            bulk_insert(self._conn, outcome, blank, on_conflict_ignore=True)
            self._hold(missing)

    def get(self, ticket_id: TicketId) -> Facts:
        """See `OutcomeRepository.get`."""
        self.lock_many([ticket_id])
        return self._held[ticket_id]

    def put(self, ticket_id: TicketId, label: Label | None) -> None:
        """See `OutcomeRepository.put`."""
        self._put[ticket_id] = label

    def flush(self) -> list[tuple[_Counted, _Counted]]:
        """Write what was put; returns what counts of each ticket before and now."""
        bulk_upsert(
            self._conn, outcome, [self._row(ticket_id, self._held[ticket_id], self._put[ticket_id]) for ticket_id in sorted(self._put)]
        )
        changed = [(self._before[ticket_id], _counted(self._held[ticket_id], label)) for ticket_id, label in self._put.items()]
        self._put = {}
        return changed

    def _hold(self, ticket_ids: Sequence[TicketId]) -> None:
        among = outcome.c.ticket_id == any_(literal(list(ticket_ids), ARRAY(Text)))
        for row in self._conn.execute(select(outcome).where(among).order_by(outcome.c.ticket_id).with_for_update()):
            facts = from_json(row.facts, row.text, row.submit_time)
            self._held[row.ticket_id] = facts
            self._before[row.ticket_id] = _Counted(facts.sent_by_model(), facts.refused_of_model(), row.source)

    def _row(self, ticket_id: TicketId, facts: Facts, label: Label | None) -> dict[str, Any]:
        return {
            "ticket_id": ticket_id,
            "text": facts.text,
            "submit_time": facts.submit_time,
            "facts": to_json(facts),
            "label": label and label.class_code,
            "weight": label and label.weight,
            "source": label and label.source.value,
            "update_time": self._clock.now(),
        }


class SqlLearningUnitOfWork(SqlUnitOfWork):
    """`LearningUnitOfWork` on PostgreSQL; what a transaction changed is counted once it is committed."""

    def __init__(self, engine: Engine, outbox_: Outbox, clock: Clock, metrics: ClassifierMetrics) -> None:
        super().__init__(engine, outbox_)
        self._clock = clock
        self._metrics = metrics

    def __enter__(self) -> Self:
        """Open the transaction."""
        super().__enter__()
        self.outcomes = SqlOutcomes(self.connection, self._clock)
        self._changed: list[tuple[_Counted, _Counted]] = []
        return self

    def flush(self) -> None:
        """Write outcomes, then messages."""
        self._changed += self.outcomes.flush()
        super().flush()

    def commit(self) -> None:
        """Write everything, commit, and count it."""
        super().commit()
        for before, now in self._changed:
            self._metrics.count_outcome(
                sent=[now.sent[epoch] for epoch in now.sent.keys() - before.sent.keys()],
                refused=[now.refused[epoch] for epoch in now.refused.keys() - before.refused.keys()],
                source=now.source if now.source != before.source else None,
            )
        self._changed = []


class SqlShadowRecord:
    """Keeps where a model in the shadow would have answered otherwise."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Keep disagreements: the columns of `shadow_disagreement`; one that is known already is passed over."""
        with self._engine.begin() as conn:
            bulk_insert(conn, shadow_disagreement, rows, on_conflict_ignore=True)


def labelled(conn: Connection) -> Iterator[Mapping[str, Any]]:
    """Yield every outcome that gives a label, by the time of its submission: id, text, label, weight, source, time, predicted class."""
    columns = outcome.c
    statement = (
        select(
            columns.ticket_id.label("id"),
            columns.text,
            columns.label,
            columns.weight,
            columns.source,
            columns.submit_time.label("time"),
            columns.facts[("prediction", "1", "0", "0")].astext.label("predicted"),
        )
        .where(columns.label.is_not(None), columns.text.is_not(None))
        .order_by(columns.submit_time, columns.ticket_id)
    )
    yield from map(dict, conn.execute(statement).mappings())


def judged_disagreements(conn: Connection) -> Iterator[Mapping[str, Any]]:
    """Yield for each pair of models how often they disagreed, and who was right where the outcome is known by now."""
    shadow, known = shadow_disagreement.c, outcome.c
    pair = (shadow.champion_version, shadow.challenger_version)
    statement = (
        select(
            *pair,
            func.count().label("disagreements"),
            func.count(known.label).label("known"),
            func.count().filter(known.label == shadow.champion_class).label("champion_right"),
            func.count().filter(known.label == shadow.challenger_class).label("challenger_right"),
            func.max(shadow.classify_time).label("last_time"),
        )
        .select_from(shadow_disagreement.outerjoin(outcome, known.ticket_id == shadow.ticket_id))
        .group_by(*pair)
        .order_by(func.max(shadow.classify_time).desc())
    )
    yield from map(dict, conn.execute(statement).mappings())


def forget_outcomes(conn: Connection, *, now: datetime, retention: timedelta) -> int:
    """Forget tickets to which nothing happened within `retention`, and old disagreements; up to 5,000 of each, returns how many."""
    forgotten = 0
    for table, time in ((outcome, outcome.c.update_time), (shadow_disagreement, shadow_disagreement.c.classify_time)):
        key = list(table.primary_key)
        old = select(*key).where(time < now - retention).limit(_FORGOTTEN_AT_ONCE).subquery()
        forgotten += conn.execute(table.delete().where(*(column == old.c[column.name] for column in key))).rowcount
    return forgotten


class _Counted:
    """What of a ticket is counted."""

    def __init__(self, sent: Mapping[Any, str], refused: Mapping[Any, str], source: str | None) -> None:
        self.sent = sent
        self.refused = refused
        self.source = source


def _counted(facts: Facts, label: Label | None) -> _Counted:
    return _Counted(facts.sent_by_model(), facts.refused_of_model(), None if label is None else label.source.value)
