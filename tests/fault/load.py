"""The load client: submits on a schedule that waits for nobody, and repeats a request until it knows the answer."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from paidan.intake.v1.intake_service_pb2_grpc import IntakeServiceStub
from tests.fault.ledger import Plan, Submission
from tests.support.city import open_channel
from tests.support.requests import MATTERS, submission, unique
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from cli.connection import Metadata
    from tests.fault.ledger import Ledger

# The outcome is not known after these: the ticket may be stored or not.
_UNKNOWN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_ATTEMPT_SECONDS = 5
_RETRY_SECONDS = 0.2
_PATIENCE_SECONDS = 90
_DRIP_SECONDS = 0.3
_WORKERS = 128


class Load:
    """Submits from entering the `with` block to leaving it: `burst` tickets at `rate` a second, then a drip; waits for the last answers."""

    def __init__(
        self,
        ledger: Ledger,
        metadata: Metadata,
        addresses: Sequence[str],
        *,
        plans: Sequence[Plan] = (Plan.USUAL, Plan.USUAL, Plan.USUAL, Plan.RETURN),
        rate: float = 30,
        burst: int = 60,
    ) -> None:
        self._ledger = ledger
        self._metadata = metadata
        self._channel = open_channel(*addresses)
        self._intake = IntakeServiceStub(self._channel)
        self._plans = itertools.cycle(plans)
        self._matters = itertools.cycle(MATTERS)
        self._pause = 1 / rate
        self._burst = burst
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="portal")
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(10)
        self._pool.shutdown(wait=error is None, cancel_futures=error is not None)
        self._channel.close()

    def go_on_for(self, tickets: int) -> None:
        """Return when that many more tickets were submitted."""
        goal = self.sent + tickets
        eventually(lambda: self.sent >= goal, f"{goal} tickets submitted", within=120)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._pool.submit(self._submit, next(self._matters), next(self._plans))
            self.sent += 1
            due += self._pause if self.sent < self._burst else _DRIP_SECONDS
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _submit(self, matter: object, plan: Plan) -> None:
        request_id, text = uuid.uuid4().hex, unique(matter.text)
        self._ledger.sending(Submission(request_id, text, plan))
        request = submission(text, request_id, district=matter.district)
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                answer = self._intake.SubmitTicket(request, metadata=self._metadata, timeout=_ATTEMPT_SECONDS)
            except grpc.RpcError as error:
                self._ledger.attempted(request_id, error.code().name, error.details() or "")
                if error.code() not in _UNKNOWN:
                    return
                time.sleep(_RETRY_SECONDS)
            else:
                self._ledger.attempted(request_id, "OK")
                self._ledger.acknowledged_as(request_id, answer.ticket.ticket_id)
                return
