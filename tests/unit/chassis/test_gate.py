"""The gate before every method: refusals as rich errors, deadlines, admission, access, without a network."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy.exc import IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chassis import gate, rich_error
from chassis.caller import Caller, Role
from chassis.metrics import ChassisMetrics
from chassis.refusal import Refusal, RefusalKind, Violation
from paidan.common.v1 import error_reason_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

PORTAL = Caller(Role.PORTAL, "yukuaiban")


def details(status: status_pb2.Status) -> list[Any]:
    unpacked = []
    for packed in status.details:
        kinds = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
        detail = next(kind() for kind in kinds if packed.Is(kind.DESCRIPTOR))
        packed.Unpack(detail)
        unpacked.append(detail)
    return unpacked


@pytest.mark.parametrize("kind", list(RefusalKind))
def test_every_kind_of_refusal_has_a_code_of_its_own(kind: RefusalKind) -> None:
    status = rich_error._rich(Refusal(kind, "REASON", "what is wrong"), "probe.paidan")

    assert status.code != code_pb2.OK
    assert status.message == "what is wrong"
    assert [each for each in RefusalKind if rich_error._CODES[each] == status.code] == [kind]


def test_a_refusal_carries_reason_fields_and_when_to_come_back() -> None:
    refusal = Refusal(
        RefusalKind.INVALID,
        "REASON",
        "what is wrong",
        metadata={"state": "CLOSED"},
        violations=[Violation("a.b", "is wrong"), Violation("c", "too")],
        retry_after=timedelta(milliseconds=1500),
    )

    info, bad, retry = details(rich_error._rich(refusal, "probe.paidan"))

    assert (info.reason, info.domain, dict(info.metadata)) == ("REASON", "probe.paidan", {"state": "CLOSED"})
    assert [(each.field, each.description) for each in bad.field_violations] == [("a.b", "is wrong"), ("c", "too")]
    assert retry.retry_delay.ToTimedelta() == timedelta(milliseconds=1500)


def test_what_a_refusal_lacks_is_left_out() -> None:
    assert len(details(rich_error._rich(Refusal(RefusalKind.ABORTED, "REASON", ""), "probe.paidan"))) == 1


def test_the_common_reasons_are_those_of_the_contract() -> None:
    documented = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118 - an enum wrapper

    assert documented - {"UNSPECIFIED"} == rich_error._COMMON_REASONS


class Context:
    """A call as the library hands it over."""

    sleeps_after = 0

    def __init__(self, *, remaining: float | None = None, known: bool = True) -> None:
        self._remaining = remaining
        self._known = known
        self.aborted: grpc.Status | None = None
        self.written: list[Any] = []
        self.reader_reads = asyncio.Event()
        self.reader_reads.set()

    def time_remaining(self) -> float | None:
        return self._remaining

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return [("authorization", "Bearer t")] if self._known else []

    async def abort_with_status(self, status: grpc.Status) -> None:
        self.aborted = status
        raise grpc.aio.AbortError

    async def write(self, message: Any) -> None:
        await self.reader_reads.wait()
        self.written.append(message)
        if len(self.written) == self.sleeps_after:
            self.reader_reads.clear()


class Authenticator:
    def cached(self, _token: str) -> tuple[bool, Caller | None]:
        return False, None

    def fresh_for(self, _token: str) -> float:
        return 3600

    def authenticate(self, _token: str) -> Caller:
        return PORTAL


class Answer:
    """Runs one method behind a gate; keeps what it answered."""

    def __init__(self, metrics: ChassisMetrics, *, access: frozenset[Role] = frozenset(Role)) -> None:
        service = gate.Service(
            name="probe",
            register=lambda _server: None,
            access={"Do": access},
            requests={"Do": lambda data: data},
            domain="probe.paidan",
            translate=lambda error: Refusal(RefusalKind.CONFLICT, "OURS", "ours") if isinstance(error, LookupError) else None,
        )
        self.gate = gate.Gate(service, Authenticator(), metrics, threads=2, max_in_flight=2)
        self.metrics = metrics

    def unary(self, behaviour: Callable[[Any, Any], Any], context: Context) -> Any:
        async def run() -> Any:
            try:
                return await self.gate._unary("Do", behaviour)("request", context)
            except grpc.aio.AbortError:
                return context.aborted

        return asyncio.run(run())

    def count(self, code: str) -> float:
        return self.metrics.registry.get_sample_value("paidan_grpc_server_handled_total", {"method": "Do", "code": code}) or 0


@pytest.fixture
def metrics() -> ChassisMetrics:
    return ChassisMetrics()


@pytest.fixture
def answer(metrics: ChassisMetrics) -> Iterator[Answer]:
    made = Answer(metrics)
    yield made
    made.gate.close()


def reason(status: grpc.Status) -> str:
    packed = dict(status.trailing_metadata)["grpc-status-details-bin"]
    info = details(status_pb2.Status.FromString(packed))[0]
    return f"{info.domain}/{info.reason}"


def test_a_method_knows_who_calls_and_how_long_the_caller_waits(answer: Answer) -> None:
    seen: dict[str, Any] = {}

    def do(request: str, _context: object) -> str:
        seen.update(caller=gate.current_caller(), left=gate.time_left())
        return request.upper()

    assert answer.unary(do, Context(remaining=5)) == "REQUEST"
    assert seen["caller"] == PORTAL
    assert timedelta(seconds=4) < seen["left"] <= timedelta(seconds=5)
    assert answer.count("OK") == 1


def test_without_a_deadline_there_is_no_time_left_to_tell(answer: Answer) -> None:
    assert answer.unary(lambda *_: gate.time_left(), Context()) is None


def test_a_call_whose_deadline_is_over_is_not_taken_up(answer: Answer) -> None:
    status = answer.unary(lambda *_: pytest.fail("taken up"), Context(remaining=0))

    assert (status.code, reason(status)) == (grpc.StatusCode.DEADLINE_EXCEEDED, "paidan/DEADLINE_OVER")
    assert answer.count("DEADLINE_EXCEEDED") == 1


def test_a_method_that_does_not_answer_in_time_is_unavailable_before_its_caller_gives_up(answer: Answer) -> None:
    released = threading.Event()

    began = time.monotonic()
    status = answer.unary(lambda *_: released.wait(5), Context(remaining=1))
    took = time.monotonic() - began
    released.set()

    assert (status.code, reason(status)) == (grpc.StatusCode.UNAVAILABLE, "paidan/STORE_UNAVAILABLE")
    assert took < 1
    assert answer.count("UNAVAILABLE") == 1


def test_a_coroutine_that_does_not_answer_in_time_is_unavailable_too_and_is_cancelled(answer: Answer) -> None:
    cancelled = []

    async def do(_request: str, _context: object) -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    status = answer.unary(do, Context(remaining=0.2))

    assert (status.code, reason(status)) == (grpc.StatusCode.UNAVAILABLE, "paidan/STORE_UNAVAILABLE")
    assert cancelled == [True]


def test_what_is_unavailable_always_says_when_to_come_back() -> None:
    _, retry = details(rich_error._rich(Refusal(RefusalKind.UNAVAILABLE, "REASON", ""), "probe.paidan"))

    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=1)


def test_a_database_that_turned_read_only_is_unavailable(answer: Answer) -> None:
    def do(_request: str, _context: object) -> None:
        raise InternalError("INSERT", {}, ReadOnlySqlTransaction("secret"))

    status = answer.unary(do, Context())

    assert (status.code, reason(status)) == (grpc.StatusCode.UNAVAILABLE, "paidan/STORE_UNAVAILABLE")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (LookupError("of the service"), grpc.StatusCode.FAILED_PRECONDITION, "probe.paidan/OURS"),
        (Refusal(RefusalKind.NOT_FOUND, "NOTHING", "nothing"), grpc.StatusCode.NOT_FOUND, "probe.paidan/NOTHING"),
        (OperationalError("SELECT", {}, Exception("secret")), grpc.StatusCode.UNAVAILABLE, "paidan/STORE_UNAVAILABLE"),
        (InterfaceError("SELECT", {}, Exception("secret")), grpc.StatusCode.UNAVAILABLE, "paidan/STORE_UNAVAILABLE"),
        (PoolTimeout("secret"), grpc.StatusCode.UNAVAILABLE, "paidan/STORE_UNAVAILABLE"),
        (IntegrityError("INSERT", {}, Exception("secret")), grpc.StatusCode.INTERNAL, "paidan/INTERNAL"),
        (ZeroDivisionError("secret"), grpc.StatusCode.INTERNAL, "paidan/INTERNAL"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_answered_by_its_refusal_and_tells_nothing_of_its_text(
    answer: Answer, error: Exception, code: grpc.StatusCode, said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    status = answer.unary(fail, Context())

    assert (status.code, reason(status)) == (code, said)
    assert "secret" not in status.details
    assert answer.count(code.name) == 1


def test_without_a_token_nothing_is_done(answer: Answer) -> None:
    status = answer.unary(lambda *_: pytest.fail("done"), Context(known=False))

    assert (status.code, reason(status)) == (grpc.StatusCode.UNAUTHENTICATED, "paidan/UNAUTHENTICATED")


@pytest.mark.parametrize("access", [frozenset(), frozenset(Role) - {Role.PORTAL}])
def test_a_role_that_is_not_named_is_refused(metrics: ChassisMetrics, access: frozenset[Role]) -> None:
    refusing = Answer(metrics, access=access)

    status = refusing.unary(lambda *_: pytest.fail("done"), Context())
    refusing.gate.close()

    assert (status.code, reason(status)) == (grpc.StatusCode.PERMISSION_DENIED, "paidan/ROLE_NOT_ALLOWED")


def test_more_calls_than_there_is_room_for_are_refused_and_the_room_comes_back(answer: Answer) -> None:
    async def run() -> list[Any]:
        held, taken_up = asyncio.Event(), threading.Semaphore(0)
        loop = asyncio.get_running_loop()

        def hold(*_: object) -> str:
            taken_up.release()
            asyncio.run_coroutine_threadsafe(held.wait(), loop).result(20)
            return "done"

        call = answer.gate._unary("Do", hold)
        inside = [asyncio.create_task(call("request", Context())) for _ in range(2)]
        await asyncio.to_thread(taken_up.acquire)
        await asyncio.to_thread(taken_up.acquire)
        late = Context()
        with pytest.raises(grpc.aio.AbortError):
            await call("request", late)
        held.set()
        return [await each for each in inside] + [late.aborted, await call("request", Context())]

    first, second, status, after = asyncio.run(run())

    assert (first, second, after) == ("done", "done", "done")
    assert (status.code, reason(status)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "paidan/OVERLOADED")
    assert answer.gate._in_flight == 0


def test_a_caller_who_goes_away_gives_the_place_back_and_is_counted_as_gone(answer: Answer) -> None:
    async def run() -> None:
        held, taken_up = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def hold(*_: object) -> None:
            taken_up.set()
            asyncio.run_coroutine_threadsafe(held.wait(), loop).result(20)

        inside = asyncio.create_task(answer.gate._unary("Do", hold)("request", Context()))
        await asyncio.to_thread(taken_up.wait)
        inside.cancel()
        with pytest.raises(asyncio.CancelledError):
            await inside
        held.set()

    asyncio.run(run())

    assert answer.gate._in_flight == 0
    assert (answer.count("CANCELLED"), answer.count("OK")) == (1, 0)


def test_a_stream_whose_reader_sleeps_is_told_so_and_may_say_how_to_resume(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_STREAM_WRITE_TIMEOUT", timedelta(milliseconds=50))
    closed: list[str] = []

    async def count(_request: object, _context: object) -> AsyncGenerator[int, None]:
        try:
            for number in range(10):
                try:
                    yield number
                except gate.SlowReader as error:
                    raise Refusal(RefusalKind.ABORTED, "TOO_SLOW", "", metadata={"after": str(number)}) from error
        finally:
            closed.append("closed")

    context = Context()
    context.sleeps_after = 3

    async def run() -> None:
        with pytest.raises(grpc.aio.AbortError):
            await answer.gate._stream("Do", count)("request", context)
        context.reader_reads.set()
        await asyncio.sleep(0.05)

    asyncio.run(run())

    assert context.aborted is not None
    assert (context.aborted.code, reason(context.aborted)) == (grpc.StatusCode.ABORTED, "probe.paidan/TOO_SLOW")
    assert closed == ["closed"]
    assert answer.count("ABORTED") == 1
    assert answer.metrics.registry.get_sample_value("paidan_grpc_server_open_streams", {"method": "Do"}) == 0
    assert context.written == [0, 1, 2, 3], "the message that waited is sent all the same"


def test_a_stream_whose_reader_goes_away_is_closed_without_a_fault(answer: Answer) -> None:
    closed: list[str] = []

    async def numbers(_request: object, _context: object) -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            closed.append("closed")

    class Gone(Context):
        async def write(self, message: Any) -> None:
            self.written.append(message)
            if len(self.written) == 3:
                raise grpc.aio.InternalError

    async def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            await answer.gate._stream("Do", numbers)("request", Gone())

    asyncio.run(run())

    assert closed == ["closed"]
    assert (answer.count("CANCELLED"), answer.count("INTERNAL")) == (1, 0)


def test_more_streams_than_there_is_room_for_are_refused(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_MAX_STREAMS", 2)

    opened = asyncio.Semaphore(0)

    async def endless(_request: object, _context: object) -> AsyncGenerator[int, None]:
        yield 1
        opened.release()
        await asyncio.Event().wait()

    async def run() -> Context:
        call = answer.gate._stream("Do", endless)
        first, second = (asyncio.create_task(call("request", Context())) for _ in range(2))
        await opened.acquire()
        await opened.acquire()
        late = Context()
        with pytest.raises(grpc.aio.AbortError):
            await call("request", late)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        third = asyncio.create_task(call("request", Context()))
        await opened.acquire()
        for each in (second, third):
            each.cancel()
        await asyncio.gather(second, third, return_exceptions=True)
        return late

    late = asyncio.run(run())

    assert late.aborted is not None
    assert (late.aborted.code, reason(late.aborted)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "paidan/OVERLOADED")
    assert answer.gate._open_streams == 0
