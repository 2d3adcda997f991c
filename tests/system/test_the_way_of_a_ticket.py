"""What a request goes through, from the portal to the unit and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from paidan.dispatcher.v1 import dispatch_pb2
from paidan.intake.v1 import ticket_pb2
from tests.support.requests import CREDIT, CUSTOMS, FIRE_REVIEW, LOAN, PLANNING, POWER, WATER

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.actors import Desk, Portal, Unit

    Units = Callable[[str], Unit]

NOT_OURS = {"reason": "RETURN_REASON_NOT_OUR_COMPETENCE", "note": "不属于我单位职责"}
VAGUE = "有个事情想请你们协调一下"


def test_a_request_reaches_its_unit_within_the_minute_and_comes_back_resolved_and_rated(portal: Portal, unit: Units) -> None:
    fire_brigade = unit(FIRE_REVIEW.lead)

    ticket_id = portal.submit(FIRE_REVIEW)
    order = fire_brigade.order(ticket_id)
    fire_brigade.answer(ticket_id, 1, accept={})
    fire_brigade.answer(ticket_id, 1, reportProgress={"note": "已约明天现场查看"})
    fire_brigade.answer(ticket_id, 1, resolve={"resolution": "已完成现场复查并出具意见书"})
    resolved = portal.until(ticket_id, "RESOLVED")
    closed = portal.rate(ticket_id, ticket_pb2.SOLVED_YES, 5)
    changes = portal.changes(ticket_id, until="rated")

    assert order["order"]["role"] == "UNIT_ROLE_LEAD"
    assert order["order"]["classCode"] == FIRE_REVIEW.class_code
    assert order["order"]["method"] == "DISPATCH_METHOD_AUTO"
    assert order["order"]["text"] == resolved.text
    assert datetime.fromisoformat(order["sendTime"]) - resolved.create_time.ToDatetime(UTC) < timedelta(seconds=60)
    assert (resolved.lead_unit, resolved.dispatch_epoch, resolved.resolution) == (FIRE_REVIEW.lead, 1, "已完成现场复查并出具意见书")
    assert (closed.state, closed.rating.score) == (ticket_pb2.TICKET_STATE_CLOSED, 5)
    assert [change.version for change in changes] == list(range(1, closed.version + 1))
    told = [change.kind for change in changes if change.kind != "due_time_set"]
    assert told == ["submitted", "dispatched", "accepted", "progress", "resolved", "rated"]


def test_both_promises_are_kept_as_met_deadlines(portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(CUSTOMS)
    unit(CUSTOMS.lead).order(ticket_id)
    unit(CUSTOMS.lead).answer(ticket_id, 1, resolve={"resolution": "已放行"})

    dispatch = portal.until_deadline(ticket_id, "MET", "DISPATCH")
    resolution = portal.until_deadline(ticket_id, "MET", "RESOLUTION")
    portal.until(ticket_id, "RESOLVED")

    assert dispatch.due_time.ToDatetime() - dispatch.start_time.ToDatetime() == timedelta(seconds=60)
    assert dispatch.finish_time.ToDatetime() < dispatch.due_time.ToDatetime()
    assert resolution.finish_time.ToDatetime() < resolution.due_time.ToDatetime()


def test_a_return_with_a_suggestion_goes_to_that_unit_under_a_new_epoch_and_the_first_is_told(portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(POWER)
    unit(POWER.lead).order(ticket_id)

    unit(POWER.lead).answer(ticket_id, 1, **{"return": {**NOT_OURS, "suggestedUnit": "zfcxjw"}})
    order = unit("zfcxjw").order(ticket_id, epoch=2)
    (cancelled,) = unit(POWER.lead).told(ticket_id, "cancelled")
    ticket = portal.until(ticket_id, "DISPATCHED", epoch=2)

    assert order["order"]["method"] == "DISPATCH_METHOD_SUGGESTION"
    assert order["order"]["leadUnit"] == "zfcxjw"
    assert (cancelled["epoch"], cancelled["cancelled"]["reason"]) == (1, "RETURNED")
    assert ticket.lead_unit == "zfcxjw"


def test_what_the_first_unit_does_after_it_returned_the_ticket_is_refused(portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(POWER)
    unit(POWER.lead).order(ticket_id)
    unit(POWER.lead).answer(ticket_id, 1, **{"return": {**NOT_OURS, "suggestedUnit": "zfcxjw"}})
    unit("zfcxjw").order(ticket_id, epoch=2)

    receipt_id = unit(POWER.lead).answer(ticket_id, 1, resolve={"resolution": "还是我们办了"})
    (refused,) = unit(POWER.lead).told(ticket_id, "refused")

    assert (refused["refused"]["receiptId"], refused["refused"]["reason"]) == (receipt_id, "ERROR_REASON_STALE_EPOCH")
    assert portal.ticket(ticket_id).state == ticket_pb2.TICKET_STATE_DISPATCHED


def test_a_return_without_a_suggestion_goes_to_the_desk_which_decides(portal: Portal, unit: Units, desk: Desk) -> None:
    ticket_id = portal.submit(CREDIT)
    unit(CREDIT.lead).order(ticket_id)

    unit(CREDIT.lead).answer(ticket_id, 1, **{"return": {"reason": "RETURN_REASON_INSUFFICIENT_INFORMATION", "note": "说不清是哪个系统"}})
    item = desk.item(ticket_id)
    waiting = portal.until(ticket_id, "AWAITING_TRIAGE")
    desk.assign(ticket_id, "fzggw", class_code="credit_repair", note="信用修复请市发改委牵头")
    order = unit("fzggw").order(ticket_id, epoch=2)
    dispatched = portal.until(ticket_id, "DISPATCHED", epoch=2)

    assert (item.reason, item.return_note) == (dispatch_pb2.TRIAGE_REASON_RETURNED, "说不清是哪个系统")
    assert waiting.dispatch_epoch == 1
    assert (order["order"]["method"], order["order"]["note"]) == ("DISPATCH_METHOD_TRIAGE", "信用修复请市发改委牵头")
    assert dispatched.lead_unit == "fzggw"


def test_what_the_machine_is_not_sure_of_goes_to_the_desk_which_may_decline_it(portal: Portal, desk: Desk) -> None:
    ticket_id = portal.submit(text=VAGUE)

    item = desk.item(ticket_id)
    desk.decline(ticket_id, "不属于企业诉求受理范围", "请拨打 12345 市民热线")
    declined = portal.until(ticket_id, "DECLINED")

    assert item.reason in {dispatch_pb2.TRIAGE_REASON_UNSURE, dispatch_pb2.TRIAGE_REASON_OUT_OF_SCOPE}
    assert "12345" in declined.decline_reason
    assert portal.until_deadline(ticket_id, "CANCELLED").ticket_id == ticket_id


def test_a_supplement_pauses_the_clock_and_its_delivery_lets_it_run_again(portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(PLANNING)
    planning = unit(PLANNING.lead)
    planning.order(ticket_id)
    running = portal.until_deadline(ticket_id, "RUNNING")

    planning.answer(ticket_id, 1, requestSupplement={"question": "请补充总平面图"})
    asked = portal.until(ticket_id, "AWAITING_SUPPLEMENT")
    paused = portal.until_deadline(ticket_id, "PAUSED")
    portal.supplement(ticket_id, "总平面图已上传")
    (supplement,) = planning.told(ticket_id, "supplement")
    resumed = portal.until_deadline(ticket_id, "RUNNING")
    notices = [notice["deadline"]["kind"] for notice in planning.told(ticket_id, "deadline", count=3)]

    assert asked.supplement_question == "请补充总平面图"
    assert not paused.HasField("due_time")
    assert supplement["supplement"] == {"text": "总平面图已上传", "attachmentRefs": ["portal://1"]}
    assert resumed.due_time == running.due_time
    assert notices == ["SET", "PAUSED", "RESUMED"]
    assert portal.until(ticket_id, "ACCEPTED").supplement_question == ""


def test_a_granted_extension_moves_the_due_time_and_keeps_the_original(portal: Portal, unit: Units, desk: Desk) -> None:
    ticket_id = portal.submit(WATER)
    water = unit(WATER.lead)
    water.order(ticket_id)
    before = portal.until_deadline(ticket_id, "RUNNING")

    water.answer(ticket_id, 1, requestExtension={"workdays": 2, "reason": "外线施工需协调占道"})
    desk.grant(ticket_id)
    (extension,) = water.told(ticket_id, "extension")
    portal.changes(ticket_id, until="due_time_extended")
    after = portal.until_deadline(ticket_id, "RUNNING")

    assert extension["extension"] == {"granted": True, "workdays": 2, "note": "同意"}
    assert after.extension_workdays == 2
    assert after.due_time.ToDatetime() >= before.due_time.ToDatetime() + timedelta(days=2)
    assert after.original_due_time == before.due_time
    assert portal.ticket(ticket_id).due_time == after.due_time


def test_the_unit_is_told_of_a_withdrawal(portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(LOAN)
    unit(LOAN.lead).order(ticket_id)

    portal.withdraw(ticket_id)
    (cancelled,) = unit(LOAN.lead).told(ticket_id, "cancelled")
    deadline = portal.until_deadline(ticket_id, "CANCELLED")

    assert cancelled["cancelled"] == {"reason": "WITHDRAWN", "note": "已自行解决"}
    assert not portal.ticket(ticket_id).HasField("due_time")
    assert deadline.ticket_id == ticket_id


def test_a_reopened_ticket_goes_back_to_the_unit_that_resolved_it_under_a_new_epoch_and_a_new_clock(portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(WATER)
    water = unit(WATER.lead)
    water.order(ticket_id)
    water.answer(ticket_id, 1, resolve={"resolution": "已疏通"})
    portal.until(ticket_id, "RESOLVED")
    first = portal.until_deadline(ticket_id, "MET")

    portal.reopen(ticket_id)
    order = water.order(ticket_id, epoch=2)
    reopened = portal.until(ticket_id, "DISPATCHED", epoch=2)
    second = portal.until_deadline(ticket_id, "RUNNING", cycle=1)
    dispatch = portal.until_deadline(ticket_id, "MET", "DISPATCH", cycle=1)

    assert (order["order"]["method"], order["order"]["note"]) == ("DISPATCH_METHOD_REOPEN", "第二天又坏了")
    assert (reopened.lead_unit, reopened.reopen_count) == (WATER.lead, 1)
    assert second.start_time.ToDatetime() > first.start_time.ToDatetime()
    assert dispatch.start_time == second.start_time
    assert portal.until_deadline(ticket_id, "MET").finish_time == first.finish_time


def test_a_request_that_names_an_abolished_district_goes_to_its_successor(portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(FIRE_REVIEW, district="500112")

    order = unit("500171").order(ticket_id)

    assert order["order"]["role"] == "UNIT_ROLE_LEAD"
    assert order["order"]["districtCode"] == "500171"
    assert portal.until(ticket_id, "DISPATCHED").district_code == "500112"


def test_the_desk_moves_a_ticket_to_another_unit(portal: Portal, unit: Units, desk: Desk) -> None:
    ticket_id = portal.submit(CUSTOMS)
    unit(CUSTOMS.lead).order(ticket_id)

    desk.transfer(ticket_id, 1, "kawlb")
    order = unit("kawlb").order(ticket_id, epoch=2)
    (cancelled,) = unit(CUSTOMS.lead).told(ticket_id, "cancelled")

    assert order["order"]["method"] == "DISPATCH_METHOD_TRANSFER"
    assert cancelled["cancelled"]["reason"] == "TRANSFERRED"
    assert portal.until(ticket_id, "DISPATCHED", epoch=2).lead_unit == "kawlb"
