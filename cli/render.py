"""Tickets, dispatches and triage items as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from cli.output import console, enum_word, local_time
from paidan.dispatcher.v1 import dispatch_pb2
from paidan.intake.v1 import ticket_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

STATES = {
    "SUBMITTED": "待派单",
    "DISPATCHED": "已派单",
    "ACCEPTED": "已签收",
    "AWAITING_SUPPLEMENT": "待补充",
    "AWAITING_TRIAGE": "人工分拨",
    "RESOLVED": "已办结",
    "CLOSED": "已关闭",
    "WITHDRAWN": "已撤回",
    "DECLINED": "不予受理",
    "PENDING": "待派单",
}
CHANGES = {
    "submitted": "提交",
    "dispatched": "派单",
    "sent_to_triage": "转人工分拨",
    "accepted": "签收",
    "returned": "退回",
    "supplement_requested": "要求补充材料",
    "supplemented": "已补充材料",
    "progress": "进展",
    "extension_requested": "申请延期",
    "extension_granted": "同意延期",
    "extension_refused": "不同意延期",
    "resolved": "办结",
    "rated": "评价",
    "reopened": "重办",
    "closed": "关闭",
    "withdrawn": "撤回",
    "declined": "不予受理",
    "due_time_set": "办理期限",
    "clock_paused": "计时暂停",
    "clock_resumed": "计时恢复",
    "due_time_extended": "期限延长",
    "due_time_near": "临近期限",
    "due_time_passed": "超过期限",
}
METHODS = {
    "AUTO": "自动 auto",
    "RULES": "规则 rules",
    "TRIAGE": "分拨 triage",
    "FALLBACK": "值班 fallback",
    "SUGGESTION": "退回建议",
    "TRANSFER": "转办",
    "REOPEN": "重办",
}


def ticket_state(state: int) -> str:
    """Return a ticket's state in Chinese."""
    name = ticket_pb2.TicketState.Name(state).removeprefix("TICKET_STATE_")  # type: ignore[arg-type]  # an open enum
    return STATES.get(name, name)


def dispatch_state(state: int) -> str:
    """Return a dispatch's state in Chinese."""
    name = dispatch_pb2.DispatchState.Name(state).removeprefix("DISPATCH_STATE_")  # type: ignore[arg-type]  # an open enum
    return STATES.get(name, name)


def method_name(method: int) -> str:
    """Return who or what chose the unit, in both languages."""
    name = dispatch_pb2.DispatchMethod.Name(method).removeprefix("DISPATCH_METHOD_")  # type: ignore[arg-type]  # an open enum
    return METHODS.get(name, "–")


def show_ticket(ticket: ticket_pb2.Ticket) -> None:
    """Print one ticket."""
    rows = [
        ("工单 ticket", f"{ticket.number}  {ticket.ticket_id}"),
        ("状态 state", f"{ticket_state(ticket.state)}  (v{ticket.version})"),
        ("企业 enterprise", f"{ticket.enterprise.name} {ticket.enterprise.uscc}{'  保密 confidential' if ticket.confidential else ''}"),
        ("诉求 request", ticket.text),
        ("主办 lead", ticket.lead_unit or "–"),
        ("协办 co-handlers", " ".join(ticket.co_handler_units) or "–"),
        ("类别 class", ticket.class_code or "–"),
        ("提交 submitted", local_time(ticket.create_time)),
        ("期限 due", local_time(ticket.due_time) if ticket.HasField("due_time") else "–"),
    ]
    if ticket.supplement_question:
        rows.append(("请补充 wanted", ticket.supplement_question))
    if ticket.resolution:
        rows.append(("办理结果 result", ticket.resolution))
    if ticket.decline_reason:
        rows.append(("不予受理 declined", ticket.decline_reason))
    if ticket.HasField("rating"):
        solved = enum_word(ticket_pb2.Solved.Name(ticket.rating.solved), "SOLVED_")
        rows.append(("评价 rating", f"{'★' * ticket.rating.score} {solved} {ticket.rating.comment}"))
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(f"[dim]{name}[/]", escape(value))
    console.print(Panel(grid, expand=False))


def show_tickets(tickets: Iterable[ticket_pb2.Ticket]) -> None:
    """Print a table of tickets."""
    table = Table(box=None, header_style="bold")
    for header in ("工单 ticket", "状态 state", "主办 lead", "提交 submitted", "期限 due", "诉求 request"):
        table.add_column(header, no_wrap=header != "诉求 request", overflow="ellipsis")
    for ticket in tickets:
        due = local_time(ticket.due_time) if ticket.HasField("due_time") else "–"
        table.add_row(
            ticket.number,
            ticket_state(ticket.state),
            ticket.lead_unit or "–",
            local_time(ticket.create_time),
            due,
            escape(_short(ticket.text)),
        )
    _print_or_empty(table, "没有工单 no tickets")


def show_change(change: ticket_pb2.TicketChange) -> None:
    """Print one change of a ticket."""
    kind = CHANGES.get(change.kind, change.kind)
    unit = f" [cyan]{change.unit}[/]" if change.unit else ""
    note = f"  {escape(change.note)}" if change.note else ""
    console.print(f"[dim]{local_time(change.occur_time)} v{change.version}[/] {ticket_state(change.state)} · {kind}{unit}{note}")


def show_dispatches(dispatches: Iterable[dispatch_pb2.Dispatch]) -> None:
    """Print a table of dispatches."""
    table = Table(box=None, header_style="bold")
    for header in ("工单 ticket", "次 epoch", "状态 state", "主办 lead", "方式 method", "期限 due", "诉求 request"):
        table.add_column(header, no_wrap=header != "诉求 request", overflow="ellipsis")
    for dispatch in dispatches:
        table.add_row(
            dispatch.ticket_id,
            str(dispatch.epoch),
            dispatch_state(dispatch.state),
            dispatch.lead_unit or "–",
            method_name(dispatch.method),
            local_time(dispatch.due_time) if dispatch.HasField("due_time") else "–",
            escape(_short(dispatch.text)),
        )
    _print_or_empty(table, "没有派单 nothing here")


def show_triage(items: Iterable[dispatch_pb2.TriageItem]) -> None:
    """Print what waits for the desk, with the best guesses."""
    table = Table(box=None, header_style="bold", show_lines=True)
    for header in ("工单 ticket", "原因 reason", "建议 best guesses", "提交 submitted", "诉求 request"):
        table.add_column(header, no_wrap=header == "工单 ticket")
    for item in items:
        guesses = "\n".join(f"{guess.unit} {guess.relevance:.2f} ({guess.class_code})" for guess in item.candidates[:3]) or "–"
        reason = enum_word(dispatch_pb2.TriageReason.Name(item.reason), "TRIAGE_REASON_")
        held = "\n[yellow]值班席 duty desk[/]" if item.held_by_duty_desk else ""
        table.add_row(item.ticket_id, reason + held, guesses, local_time(item.submit_time), escape(_short(item.text, 80)))
    _print_or_empty(table, "没有待分拨的工单 nothing waits for the desk")


def _short(text: str, most: int = 40) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def _print_or_empty(table: Table, empty: str) -> None:
    console.print(table if table.row_count else f"[dim]{empty}[/]")
