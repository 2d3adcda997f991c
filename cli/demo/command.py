"""`paidan demo`: a fresh stack, a script of requests, a ledger kept outside the system; exit 0 only if it balances."""

from __future__ import annotations

import csv
import re
import shutil
import statistics
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import grpc
import typer
from sqlalchemy import text

from chassis.caller import Caller, Role
from chassis.settings import KafkaSettings
from cli import dead_letters
from cli.connection import connect, database_engine
from cli.demo.board import Board, Check, show_summary
from cli.demo.city import City, Entry, Lead
from cli.demo.desk import Desk
from cli.demo.portal import Portal, is_final
from cli.demo.script import ENTERPRISES_FILE, read_script
from cli.demo.units import Units
from cli.operations import import_registry
from cli.output import JsonFlag, console, errors_shown
from cli.up import ended_by_signals, make_connection, progress, stack_errors
from deploy.local.stack import LocalStack, open_stack
from deploy.schemas import SERVICES
from paidan.dispatcher.v1 import dispatch_pb2
from paidan.dispatcher.v1 import dispatcher_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cli.connection import Connection, Metadata, Stubs

_PORTAL = Caller(Role.PORTAL, "demo-portal")
_DESK = Caller(Role.DESK, "municipal")
_OPERATOR = Caller(Role.OPERATOR, "demo")
_MINUTE_SECONDS = 60
_LONGEST_SECONDS = 150
_PAUSE_SECONDS = 0.1
_PICTURE_WIDTH = 132


def demo(
    *,
    svg: Annotated[Path | None, typer.Option(help="Also save what was shown as a picture.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """演示：67 条诉求走完全程。 The whole way on real parts; exit 0 only if every ticket is accounted for."""
    with errors_shown(), stack_errors(), ended_by_signals(), _data_dir() as data_dir:
        begin = time.monotonic()
        if svg is not None:
            console.record, console.width = True, _PICTURE_WIDTH
        on_progress = (lambda _line: None) if as_json else progress
        with open_stack(data_dir, on_progress=on_progress) as stack:
            balanced = _play(stack, on_progress, as_json=as_json, begin=begin)
    if not as_json:
        console.print("[dim]· 全部已停止 everything is down again[/]")
    if svg is not None:
        # Without the fonts that it would fetch from the network.
        picture = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="paidan demo"), flags=re.DOTALL)
        svg.write_text(picture, encoding="utf-8")
    if not balanced:
        raise typer.Exit(1)


@contextmanager
def _data_dir() -> Iterator[Path]:
    """A directory for the run; kept for its logs when the run fails."""
    directory = Path(tempfile.mkdtemp(prefix="paidan-demo-"))
    try:
        yield directory
    except BaseException:
        console.print(f"[dim]· logs are kept in {directory}[/]")
        raise
    shutil.rmtree(directory, ignore_errors=True)


def _play(stack: LocalStack, on_progress: Callable[[str], None], *, as_json: bool, begin: float) -> bool:
    connection = make_connection(stack, [_PORTAL, _DESK, _OPERATOR])
    with ENTERPRISES_FILE.open(encoding="utf-8", newline="") as file:
        count = import_registry(connection.database_url or "", csv.DictReader(file), name=ENTERPRISES_FILE.name)
    on_progress(f"{count} enterprises are in the registry")
    script = read_script()
    with ExitStack() as resources:
        stubs = resources.enter_context(connect(connection))
        desk_token, operator_token = _token(connection, _DESK), _token(connection, _OPERATOR)
        city = City(stubs.dispatcher.GetCatalogue(pb.GetCatalogueRequest(), metadata=operator_token, timeout=10))
        units = Units(city, KafkaSettings(bootstrap=connection.kafka_bootstrap).client_options())
        units.start()
        resources.callback(units.stop)
        portal = Portal(city, stubs, _token(connection, _PORTAL))
        resources.callback(portal.stop)
        desk = Desk(city, stubs, desk_token)
        desk.start()
        resources.callback(desk.stop)
        board = Board(city, _probability_by(stubs, operator_token), as_json=as_json)
        on_progress(f"{len(city.units)} units listen on their topics; the portal submits {len(script)} requests")
        board.header()
        portal.submit([request for request in script if request.play != "rules"])
        _wait(board, lambda: all(entry.leads or is_final(entry.state) for entry in city.all() if entry.request.class_code))
        on_progress("pulling the plug on the classifier: what comes now goes by rules")
        stack.services["classifier"].process.kill()
        portal.submit([request for request in script if request.play == "rules"])
        _wait(board, lambda: all(is_final(entry.state) for entry in city.all()))
        _wait(board, lambda: not _unpublished(connection))
        figures, checks = _balance(city, units, desk, connection=connection, scripted=len(script), seconds=time.monotonic() - begin)
    show_summary(figures, checks, as_json=as_json)
    return all(check.holds for check in checks)


def _token(connection: Connection, caller: Caller) -> Metadata:
    return connection.token(caller.role, caller.subject)


def _wait(board: Board, done: Callable[[], bool]) -> None:
    """Show what happens until `done`, or until the demo has taken too long; the summary tells which."""
    end = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < end:
        board.update()
        if done():
            board.update()
            return
        time.sleep(_PAUSE_SECONDS)


def _probability_by(stubs: Stubs, metadata: Metadata) -> Callable[[Entry, Lead], float | None]:
    def probability(entry: Entry, lead: Lead) -> float | None:
        try:
            request = pb.GetDispatchRequest(ticket_id=entry.ticket_id)
            dispatch = stubs.dispatcher.GetDispatch(request, metadata=metadata, timeout=10).dispatch
        except grpc.RpcError:
            return None
        known = dispatch.class_code == lead.class_code and dispatch.method == dispatch_pb2.DISPATCH_METHOD_AUTO
        return dispatch.class_probability if known else None

    return probability


def _unpublished(connection: Connection) -> int:
    """Count what the services have not published yet."""
    engine = database_engine(connection.database_url or "")
    try:
        with engine.connect() as conn:
            tables = [name for name in SERVICES if conn.scalar(text("SELECT to_regclass(:name)"), {"name": f"{name}.outbox"})]
            return sum(int(conn.scalar(text(f"SELECT count(*) FROM {name}.outbox")) or 0) for name in tables)  # noqa: S608 - names of ours
    finally:
        engine.dispose()


def _balance(
    city: City,
    units: Units,
    desk: Desk,
    *,
    connection: Connection,
    scripted: int,
    seconds: float,
) -> tuple[list[tuple[str, str]], list[Check]]:
    entries = city.all()
    times = sorted(taken for entry in entries if (taken := entry.seconds_to_dispatch) is not None)
    never = [entry for entry in entries if not entry.leads and "declined" not in entry.kinds]
    late = [entry for entry in entries if (entry.seconds_to_dispatch or 0) > _MINUTE_SECONDS]
    unfinished = [entry.number for entry in entries if not is_final(entry.state)]
    twice_led = [entry.number for entry in entries if len({lead.epoch for lead in entry.leads}) != len(entry.leads)]
    letters = dead_letters.read_all(connection.kafka_bootstrap)
    returns = sum(entry.kinds.count("returned") for entry in entries)
    methods = Counter(
        dispatch_pb2.DispatchMethod.Name(entry.leads[0].method).removeprefix("DISPATCH_METHOD_").lower()  # type: ignore[arg-type]
        for entry in entries
        if entry.leads
    )
    known = [entry for entry in entries if entry.leads and entry.request.class_code in city.classes]
    right = sum(entry.leads[0].class_code == entry.request.class_code for entry in known)
    ends = Counter(entry.kinds[-1] for entry in entries if entry.kinds)
    submitted = len(entries) + len(city.malformed)
    figures = [
        ("诉求 requests", f"{scripted} scripted · {len(entries)} acknowledged · {len(city.malformed)} refused as malformed"),
        ("派单方式 first dispatch by", " · ".join(f"{name} {count}" for name, count in methods.most_common())),
        (
            "派单时长 time to dispatch",
            f"p50 {_share(times, 0.5):.2f} s · p99 {_share(times, 0.99):.2f} s · max {max(times, default=0):.2f} s",
        ),
        ("首次识别 class as an expert's", f"{right} of {len(known)}"),
        ("退回 returns", str(returns)),
        ("人工分拨 decided at the desk", f"{desk.decided} · extensions granted {desk.extensions}"),
        ("死信 dead letters", f"{len(letters)} (the units sent {units.garbage_sent} message that is no JSON)"),
        ("最后 ended by", " · ".join(f"{name} {count}" for name, count in ends.most_common())),
        ("用时 the demo took", f"{seconds:.0f} s"),
    ]
    checks = [
        Check("一分钟 within the minute", not late and not never, f"{len(times)} dispatched, {len(late)} late, {len(never)} never"),
        Check(
            "不丢 nothing unaccounted for", submitted == scripted and not unfinished, _numbers(unfinished) or "every ticket reached its end"
        ),
        Check("唯一主办 one lead an epoch", not twice_led, _numbers(twice_led) or "each epoch had one lead unit"),
        Check("重复 repeated request", city.repeated == 1, "one request sent twice made one ticket"),
        Check("格式错误 malformed request", len(city.malformed) == 1, "; ".join(city.malformed)),
        Check(
            "死信 dead letters explained", len(letters) == units.garbage_sent, ", ".join(letter.header("dlq_reason") for letter in letters)
        ),
        Check("四种方式 every rung was used", {"auto", "rules", "triage", "fallback"} <= set(methods), " · ".join(sorted(methods))),
        Check("无意外 no surprises", not city.problems, "; ".join(city.problems[:3]) or "no refusal, gap or failure on the way"),
    ]
    return figures, checks


def _share(values: list[float], share: float) -> float:
    """Return a quantile; of few values the nearest of them."""
    if len(values) < 2:  # noqa: PLR2004 - a quantile needs two
        return values[0] if values else 0.0
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def _numbers(numbers: list[str]) -> str:
    return ", ".join(numbers[:5])
