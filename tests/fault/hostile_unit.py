"""A unit whose receipts are hard to read: compressed in every way, too large, not text, or taken back by an aborted transaction."""

from __future__ import annotations

import json
import threading
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING

from kafka import KafkaProducer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

_PAUSE_SECONDS = 0.25
_HUGE_BYTES = 2 * 1024 * 1024
_PADDING = "已联系企业，" * 100
_CODECS = ("gzip", "zstd", "lz4", "snappy")


class _Garbled(str):
    """A header's name that is no UTF-8; brokers take it."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002 - the client asks for UTF-8
        return "回执".encode("gbk")


class HostileUnit:
    """Writes one receipt of each kind every quarter of a second, for a `with` block; all are about a ticket that does not exist.

    Attributes:
        sent: Kind → ids of the receipts that brokers acknowledged.
    """

    def __init__(self, bootstrap: str, unit: str) -> None:
        self.sent: defaultdict[str, list[str]] = defaultdict(list)
        self._topic = f"receipts.{unit}.v1"
        self._stop = threading.Event()
        common = {"bootstrap_servers": bootstrap, "api_version": (2, 6), "metrics_enabled": False}
        self._producers: Mapping[str, KafkaProducer] = {
            **{codec: KafkaProducer(compression_type=codec, **common) for codec in _CODECS},
            "2 MiB": KafkaProducer(compression_type="gzip", max_request_size=2 * _HUGE_BYTES, **common),
            "garbled": KafkaProducer(**common),
            "aborted": KafkaProducer(transactional_id=f"hostile-{uuid.uuid4().hex}", **common),
        }
        self._thread = threading.Thread(target=self._run, name="hostile-unit", daemon=True)

    def __enter__(self) -> Self:
        self._producers["aborted"].init_transactions()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(30)
        for producer in self._producers.values():
            producer.close(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE_SECONDS):
            for kind, producer in self._producers.items():
                self._send(kind, producer)

    def _send(self, kind: str, producer: KafkaProducer) -> None:
        receipt_id, ticket_id = f"{kind.replace(' ', '')}-{uuid.uuid4().hex}", uuid.uuid4().hex
        note = "水" * (_HUGE_BYTES // 3) if kind == "2 MiB" else _PADDING
        receipt = {"receiptId": receipt_id, "ticketId": ticket_id, "epoch": 1, "reportProgress": {"note": note}}
        headers = [(_Garbled("x"), b"")] if kind == "garbled" else []
        if kind == "aborted":
            producer.begin_transaction()
        future = producer.send(self._topic, json.dumps(receipt, ensure_ascii=False).encode(), ticket_id.encode(), headers=headers)
        future.get(timeout=10)
        if kind == "aborted":
            producer.abort_transaction()
        self.sent[kind].append(receipt_id)
