"""The load: calls of one unary method over gRPC, in a closed loop or on a schedule that waits for nobody.

On a schedule every time counts from the moment at which the call was due, not from the one at which it was sent: a system that makes its
callers wait is not asked less for it, and its hold-ups are not left out of the percentiles ("coordinated omission").
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

import grpc

from bench.requests import Submissions
from paidan.intake.v1.intake_service_pb2 import SubmitTicketResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from bench.requests import Sample

SUBMIT = "/paidan.intake.v1.IntakeService/SubmitTicket"

# A connection of its own for each channel, as portals on different machines have.
CHANNEL_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
_CALL_TIMEOUT_SECONDS = 20.0
_HEAD_START_SECONDS = 0.5
_UNKNOWN_PATIENCE = timedelta(seconds=60)
_RETRY_PAUSE_SECONDS = 0.5
# After these the ticket may or may not be stored: the same request is sent again until the answer is known.
_UNKNOWN_OUTCOME = frozenset({grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL})


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a submission.

    Attributes:
        number: Its number.
        due: When it was due, in seconds since the epoch.
        sent: When it was first sent.
        answered: When its last answer came.
        ticket_id: The ticket, if it was taken in; else empty.
        code: gRPC code of its last answer.
        attempts: How often it was sent.
    """

    number: int
    due: float
    sent: float
    answered: float
    ticket_id: str
    code: str
    attempts: int

    @property
    def accepted(self) -> bool:
        """Whether the system said that it has it."""
        return self.code == grpc.StatusCode.OK.name

    @property
    def unknown(self) -> bool:
        """Whether it was given up without knowing if the system has it."""
        return self.code in {code.name for code in _UNKNOWN_OUTCOME}


def schedule(rate: float, seconds: float, *, seed: str) -> Sequence[float]:
    """Return when calls are due, in seconds from the start: independent callers, `rate` a second on average (a Poisson process)."""
    dice = random.Random(seed)
    due: list[float] = []
    at = dice.expovariate(rate)
    while at < seconds:
        due.append(at)
        at += dice.expovariate(rate)
    return due


class Load:
    """Submits tickets. Lives in a worker."""

    def __init__(self, address: str, run: str, texts: Sequence[Sample], tokens: Mapping[str, str]) -> None:
        """Prepare to submit to `address`.

        Args:
            address: `host:port` of intake.
            run: Name of the run, for request ids.
            texts: What enterprises ask.
            tokens: Portal → its bearer token.
        """
        self._address = address
        self._run = run
        self._metadata = {portal: (("authorization", f"Bearer {token}"),) for portal, token in tokens.items()}
        self._submissions = Submissions(run, texts)
        self._next = 0

    def use(self, texts: Sequence[Sample]) -> None:
        """Submit these texts from now on."""
        self._submissions = Submissions(self._run, texts)

    def on_schedule(self, due: Sequence[float]) -> Sequence[Answer]:
        """Submit a new ticket at each of the times, in seconds from the start, whether or not those before were answered."""
        return asyncio.run(self._on_schedule(self._numbers(len(due)), due))

    def in_flight(self, calls: int, *, seconds: float, at_most: int) -> Sequence[Answer]:
        """Keep that many submissions in flight until the time is over or `at_most` were sent."""
        return asyncio.run(self._in_flight(calls, seconds, self._numbers(at_most)))

    def _numbers(self, count: int) -> range:
        numbers = range(self._next, self._next + count)
        self._next = numbers.stop
        return numbers

    async def _on_schedule(self, numbers: range, due: Sequence[float]) -> Sequence[Answer]:
        submissions = [self._submissions.make(number) for number in numbers]
        async with _Submitter(self._address, self._metadata) as submitter:
            await submitter.connect()
            start = time.time() + _HEAD_START_SECONDS
            tasks = []
            for number, submission, offset in zip(numbers, submissions, due, strict=True):
                await asyncio.sleep(max(0.0, start + offset - time.time()))
                tasks.append(asyncio.create_task(submitter.submit(number, submission.portal, submission.payload, start + offset)))
            return await asyncio.gather(*tasks)

    async def _in_flight(self, calls: int, seconds: float, numbers: range) -> Sequence[Answer]:
        answers: list[Answer] = []
        left = iter([(number, self._submissions.make(number)) for number in numbers])
        async with _Submitter(self._address, self._metadata) as submitter:
            await submitter.connect()
            end = time.time() + seconds

            async def one_after_the_other() -> None:
                for number, submission in left:
                    answers.append(await submitter.submit(number, submission.portal, submission.payload, time.time()))
                    if time.time() >= end:
                        return

            await asyncio.gather(*(one_after_the_other() for _ in range(calls)))
        return answers


class _Submitter:
    """A connection for every portal."""

    def __init__(self, address: str, metadata: Mapping[str, tuple[tuple[str, str], ...]]) -> None:
        self._metadata = metadata
        self._channels = {portal: grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) for portal in metadata}
        self._calls: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, SubmitTicketResponse]] = {
            portal: channel.unary_unary(SUBMIT, response_deserializer=SubmitTicketResponse.FromString)
            for portal, channel in self._channels.items()
        }

    async def connect(self) -> None:
        """Open the connections, so that the first submission does not wait for one."""
        await asyncio.gather(*(channel.channel_ready() for channel in self._channels.values()))

    async def submit(self, number: int, portal: str, payload: bytes, due: float) -> Answer:
        """Submit until the outcome is known."""
        sent = time.time()
        attempts = 0
        while True:
            attempts += 1
            ticket_id = ""
            try:
                response = await self._calls[portal](payload, metadata=self._metadata[portal], timeout=_CALL_TIMEOUT_SECONDS)
                ticket_id, code = response.ticket.ticket_id, grpc.StatusCode.OK
            except grpc.aio.AioRpcError as error:
                code = error.code()
            if code not in _UNKNOWN_OUTCOME or time.time() - sent > _UNKNOWN_PATIENCE.total_seconds():
                return Answer(number, due, sent, time.time(), ticket_id, code.name, attempts)
            await asyncio.sleep(_RETRY_PAUSE_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))


async def repeat(call: Callable[[], Awaitable[object]], calls: int, seconds: float) -> Sequence[float]:
    """Keep `calls` calls in flight for some seconds; returns how long each took, in seconds."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one_after_the_other() -> None:
        while (begun := time.perf_counter()) < end:
            await call()
            took.append(time.perf_counter() - begun)

    await asyncio.gather(*(one_after_the_other() for _ in range(calls)))
    return took
