"""Any receipt has exactly one outcome: an effect, nothing because it is a repetition, or a refusal with its id."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.dispatcher.adapters.events import TOPIC, dispatch_topic
from tests.integration.dispatcher.harness import classified, new_ticket, receipt, submitted
from tests.unit.dispatcher.builders import INDUSTRY

if TYPE_CHECKING:
    from tests.integration.dispatcher.harness import Harness

NAMES = {"receiptId": "receipt_id", "ticketId": "ticket_id", "reportProgress": "report_progress"}


@dataclass(frozen=True)
class Written:
    """A receipt and how it was written."""

    receipt_id: str | int | None
    epoch: int
    note: str
    snake: bool
    turned: bool
    indent: int | None
    encoding: str
    cut: bool

    @property
    def is_readable(self) -> bool:
        return self.encoding.startswith("utf-8") and not self.cut and not isinstance(self.receipt_id, int)

    def data(self, prefix: str, ticket_id: str) -> bytes:
        body: dict[str, Any] = {"receiptId": self.receipt_id if isinstance(self.receipt_id, int) else f"{prefix}{self.receipt_id}"}
        if self.receipt_id is None:
            body = {}
        body |= {"ticketId": ticket_id, "epoch": self.epoch, "reportProgress": {"note": self.note}}
        if self.snake:
            body = {NAMES.get(name, name): value for name, value in body.items()}
        if self.turned:
            body = dict(reversed(body.items()))
        text = json.dumps(body, ensure_ascii=False, indent=self.indent)
        return (text[:-1] if self.cut else text).encode(self.encoding)

    def told(self, prefix: str) -> str:
        if self.receipt_id is None:
            return ""
        return str(self.receipt_id) if isinstance(self.receipt_id, int) else f"{prefix}{self.receipt_id}"


receipts = st.builds(
    Written,
    receipt_id=st.sampled_from(["a", "b", None]) | st.integers(0, 10**30),
    epoch=st.sampled_from([1, 1, 7]),
    note=st.sampled_from(["已联系企业", "已到现场"]),
    snake=st.booleans(),
    turned=st.booleans(),
    indent=st.sampled_from([None, 4]),
    encoding=st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "gbk", "utf-16"]),
    cut=st.sampled_from([False, False, False, True]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(receipts, min_size=1, max_size=3), min_size=1, max_size=3))
def test_exactly_one_thing_comes_of_a_receipt(harness: Harness, batches: list[list[Written]]) -> None:
    ticket_id, prefix = new_ticket(), f"{uuid.uuid4()}-"
    harness.feed(submitted(ticket_id), classified(ticket_id))
    taken: dict[str | bytes, tuple[int, str]] = {}
    answered: set[str | bytes] = set()

    for batch in batches:
        effects, refused = 0, []
        for each in batch:
            data = each.data(prefix, ticket_id)
            key = data if each.receipt_id is None else each.told(prefix)
            content = (each.epoch, each.note)
            if not each.is_readable or taken.setdefault(key, content) != content:
                refused.append(each.told(prefix))
            elif key not in answered:
                answered.add(key)
                effects += each.epoch == 1
                refused += [each.told(prefix)] if each.epoch != 1 else []
        with harness.engine.begin() as conn:
            conn.exec_driver_sql("DELETE FROM dispatcher.outbox")

        harness.feed(*(receipt(INDUSTRY, each.data(prefix, ticket_id)) for each in batch))

        rows = harness.rows("SELECT aggregatetype, type, payload FROM dispatcher.outbox ORDER BY seq")
        answers = [json.loads(bytes(row.payload))["refused"] for row in rows if row.aggregatetype == dispatch_topic(INDUSTRY)]
        assert sorted(answer.get("receiptId", "") for answer in answers) == sorted(refused)
        assert sum(row.aggregatetype == TOPIC for row in rows) == effects
