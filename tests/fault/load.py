"""The load client: submits on a schedule that waits for nobody, and repeats a request until it knows the answer."""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from paidan.intake.v1.intake_service_pb2_grpc import IntakeServiceStub
from tests.fault.ledger import Plan, Submission
from tests.support.city import open_channel
from tests.support.refusals import retry_after
from tests.support.requests import MATTERS, submission, unique
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from cli.connection import Metadata
    from tests.fault.ledger import Ledger
    from tests.support.requests import Matter

# The outcome is not known after these: the ticket may be stored or not.
_UNKNOWN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_ATTEMPT_SECONDS = 5
_RETRY_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 4.0
_INTERNAL_RETRIES = 2
_PATIENCE_SECONDS = 90
_DRIP_SECONDS = 0.3
_WORKERS = 256


class Load:
    """Submits from entering the `with` block to leaving it: `burst` tickets at `rate` a second, then a drip; waits for the last answers."""

    def __init__(
        self,
        ledger: Ledger,
        metadata: Metadata,
        addresses: Sequence[str],
        *,
        plans: Sequence[Plan] = (Plan.USUAL, Plan.USUAL, Plan.USUAL, Plan.RETURN),
        matters: Sequence[Matter] = MATTERS,
        rate: float = 30,
        burst: float = 60,
        guided: bool = False,
    ) -> None:
        """Describe the load.

        Args:
            ledger: Account of the run.
            metadata: Credentials of the portal.
            addresses: Replicas of intake.
            plans: What units are to do with the tickets, in turn.
            matters: What the tickets are about, in turn.
            rate: Tickets per second of the burst.
            burst: Tickets before the drip; `math.inf` for a steady load.
            guided: Retry by the table of the guide for portals, instead of every 0.2 s after an unknown outcome.
        """
        self._ledger = ledger
        self._metadata = metadata
        self._channel = open_channel(*addresses)
        self._intake = IntakeServiceStub(self._channel)
        self._plans = itertools.cycle(plans)
        self._matters = itertools.cycle(matters)
        self._pause = 1 / rate
        self._burst = burst
        self._guided = guided
        self._backoff = _guided_backoff if guided else _brisk_backoff
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="portal")
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.sent = 0

    def __enter__(self) -> Self:
        if self._guided:
            # The channel allows 100 ms for a connection. On a busy machine the first one may take longer, without a fault of the server.
            grpc.channel_ready_future(self._channel).result(_PATIENCE_SECONDS)
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

    def _submit(self, matter: Matter, plan: Plan) -> None:
        request_id, text = uuid.uuid4().hex, unique(matter.text)
        self._ledger.sending(Submission(request_id, text, plan))
        request = submission(text, request_id, district=matter.district)
        end = time.monotonic() + _PATIENCE_SECONDS
        for attempt in itertools.count():
            began = time.monotonic()
            try:
                answer = self._intake.SubmitTicket(request, metadata=self._metadata, timeout=_ATTEMPT_SECONDS)
            except grpc.RpcError as error:
                took = time.monotonic() - began
                self._ledger.attempted(request_id, error.code().name, error.details() or "", seconds=took, retry_after=retry_after(error))
                pause = self._backoff(error, attempt)
                if pause is None or time.monotonic() + pause >= end:
                    return
                time.sleep(pause)
            else:
                self._ledger.attempted(request_id, "OK", seconds=time.monotonic() - began)
                self._ledger.acknowledged_as(request_id, answer.ticket.ticket_id)
                return


def _brisk_backoff(error: grpc.RpcError, _attempt: int) -> float | None:
    """Return how long to wait before a retry, in seconds; None if the outcome is known."""
    return _RETRY_SECONDS if error.code() in _UNKNOWN else None


def _guided_backoff(error: grpc.RpcError, attempt: int) -> float | None:
    """Return how long to wait before a retry by docs/portal-guide.md, "Errors and retries", in seconds; None if there is none."""
    code = error.code()
    exponential = min(2.0**attempt, _LONGEST_BACKOFF_SECONDS) * random.uniform(0.75, 1.25)
    if code in _UNKNOWN or code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        asked = retry_after(error)
        return exponential if asked is None else asked * random.uniform(1.0, 1.25)
    return exponential if code is grpc.StatusCode.INTERNAL and attempt < _INTERNAL_RETRIES else None
