"""What becomes of a ticket, from its submission to its resolution, through the topics."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from paidan.classifier.v1 import classification_pb2
from paidan.dispatcher.v1 import dispatch_pb2, unit_messages_pb2
from paidan.sla.v1 import deadline_pb2
from paidan.sla.v1 import events_pb2 as sla
from services.dispatcher.application.carry_out import act
from services.dispatcher.domain.commands import AssignByDesk, DecideExtension, DeclineByDesk, Transfer
from services.dispatcher.domain.errors import InvalidFields, StateConflict, UnknownUnit
from services.dispatcher.domain.values import DUTY_DESK, Method, State, TriageReason
from tests.integration.dispatcher.harness import (
    SECOND,
    accepting,
    again,
    classified,
    deadline,
    new_ticket,
    receipt,
    reopened,
    resolving,
    returning,
    submitted,
    supplemented,
    withdrawn,
)
from tests.unit.dispatcher.builders import FINANCE, INDUSTRY, MARKET, NOON, YUZHONG

if TYPE_CHECKING:
    from services.dispatcher.domain.commands import DeskCommand
    from services.dispatcher.domain.dispatch import Dispatch
    from services.dispatcher.domain.values import TicketId
    from tests.integration.dispatcher.harness import Harness


def desk(harness: Harness, command: DeskCommand) -> Dispatch:
    with harness.unit_of_work() as uow:
        dispatch = act(harness.office, uow, command)
        uow.commit()
    return dispatch


def assignment(ticket_id: TicketId, unit: str, **changed: object) -> AssignByDesk:
    facts: dict[str, object] = {"desk": "desk-1", "ticket_id": ticket_id, "unit": unit, "co_handlers": (), "class_code": "", "note": ""}
    return AssignByDesk(**{**facts, **changed})  # type: ignore[arg-type]  # built from parts


def test_a_classified_ticket_is_pushed_to_lead_and_helper_before_anyone_is_told(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id))
    harness.clock.advance(SECOND)
    harness.feed(classified(ticket_id))

    sent = harness.sent(ticket_id)

    assert [each.kind for each in sent] == [f"{INDUSTRY}:order", f"{YUZHONG}:order", "TicketDispatched"]
    order, helping, told = (each.body for each in sent)
    assert order.order.role == unit_messages_pb2.UNIT_ROLE_LEAD
    assert helping.order.role == unit_messages_pb2.UNIT_ROLE_CO_HANDLER
    assert (order.epoch, order.order.lead_unit, order.order.class_name_zh) == (1, INDUSTRY, "用电报装与供电保障")
    assert (order.order.uscc, order.order.enterprise_name) == ("91350100M000100Y43", "重庆某某机械有限公司")
    assert told.method == dispatch_pb2.DISPATCH_METHOD_AUTO
    assert told.dispatch_time.ToDatetime() == (NOON + SECOND).replace(tzinfo=None)
    assert sent[0].topic == f"dispatch.{INDUSTRY}.v1"
    assert sent[0].headers["content-type"] == "application/json"
    assert sent[0].headers["ce_id"] == order.message_id
    assert sent[2].headers["content-type"] == "application/protobuf"


def test_the_decision_is_stored_with_all_that_is_needed_to_replay_it(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id, ("power_supply", 0.8), ("gas_supply", 0.1)))

    decision = harness.seen(ticket_id).decision

    assert decision is not None
    assert decision.choice.model_version == "20261101-abcdef01"
    assert decision.catalogue_version == harness.office.chooser.catalogue.version
    assert [candidate.unit for candidate in decision.choice.candidates] == [INDUSTRY, YUZHONG, "fzggw", "yjj"]
    assert decision.threshold == 0.5


def test_a_confidential_ticket_tells_no_unit_whose_it_is(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id, confidential=True), classified(ticket_id))

    for sent in harness.sent(ticket_id):
        assert "91350100M000100Y43" not in str(sent.body)
        assert "某某机械" not in str(sent.body)


def test_a_ticket_without_classification_goes_by_the_rules_at_fifteen_seconds(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id, text="变压器增容报装交上去一个月没有答复"))
    harness.tick(14.9 * SECOND)
    early = harness.sent(ticket_id)

    harness.tick(0.2 * SECOND)

    [*_, told] = harness.sent(ticket_id)
    assert early == []
    assert told.body.method == dispatch_pb2.DISPATCH_METHOD_RULES
    assert told.body.lead_unit == INDUSTRY


def test_what_the_rules_cannot_decide_goes_to_the_desk_and_then_to_the_duty_desk_well_within_the_minute(
    harness: Harness, ticket_id: TicketId
) -> None:
    harness.feed(submitted(ticket_id, text="有个事情想反映一下"))

    harness.tick(15 * SECOND)
    waiting = harness.kinds(ticket_id)
    harness.tick(25 * SECOND)
    held = harness.sent(ticket_id)

    assert waiting == ["TicketSentToTriage"]
    assert [each.kind for each in held] == ["dutydesk:order", "TicketDispatched"]
    assert held[-1].body.method == dispatch_pb2.DISPATCH_METHOD_FALLBACK
    dispatch = harness.seen(ticket_id).dispatch
    assert dispatch.triage is not None
    assert dispatch.assignment is not None
    assert dispatch.assignment.dispatch_time - NOON == 40 * SECOND
    assert [each.dispatch.ticket_id for each in harness.reading.triage(None, 1000)].count(ticket_id) == 1


def test_every_ticket_has_a_lead_within_the_minute_whatever_the_classifier_does(harness: Harness) -> None:
    silent, unsure, outside, sure = (new_ticket() for _ in range(4))
    harness.feed(*(submitted(each, text="有个事情想反映一下") for each in (silent, unsure, outside, sure)))
    harness.feed(
        classified(unsure, ("power_supply", 0.3), abstained=classification_pb2.ABSTAIN_REASON_UNSURE),
        classified(outside, ("other", 0.99)),
        classified(sure),
    )

    for _ in range(59):
        harness.tick(SECOND)

    for ticket_id in (silent, unsure, outside, sure):
        first = harness.rows("SELECT dispatch_time FROM dispatcher.assignment WHERE ticket_id = :id AND epoch = 1", id=ticket_id)
        assert first[0].dispatch_time - NOON < 60 * SECOND


def test_the_desk_decides_before_the_duty_desk_would_have_to(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id, ("power_supply", 0.4)))

    desk(harness, assignment(ticket_id, MARKET, class_code="product_quality", co_handlers=(YUZHONG, MARKET), note="请核实"))

    sent = harness.sent(ticket_id)
    assert [each.kind for each in sent] == ["TicketSentToTriage", f"{MARKET}:order", f"{YUZHONG}:order", "TicketDispatched"]
    assert sent[1].body.order.note == "请核实"
    assert (sent[3].body.class_code, sent[3].body.class_probability) == ("product_quality", 0)
    harness.tick(60 * SECOND)
    assert harness.sent(ticket_id) == []
    decision = harness.seen(ticket_id).decision
    assert decision is not None
    assert (decision.decided_by, decision.method) == ("desk-1", Method.TRIAGE)


def test_the_desk_names_only_units_and_classes_that_are_in_force(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id, ("power_supply", 0.4)))

    with pytest.raises(UnknownUnit):
        desk(harness, assignment(ticket_id, "500105"))
    with pytest.raises(UnknownUnit):
        desk(harness, assignment(ticket_id, MARKET, co_handlers=("nobody",)))
    with pytest.raises(InvalidFields):
        desk(harness, assignment(ticket_id, MARKET, class_code="nothing"))

    assert harness.seen(ticket_id).dispatch.state is State.AWAITING_TRIAGE


def test_the_desk_takes_a_ticket_from_the_duty_desk_and_is_the_only_one_to_do_so(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id, ("power_supply", 0.6)))
    harness.feed(submitted(other := new_ticket()), classified(other, ("power_supply", 0.4)))
    harness.tick(40 * SECOND)
    harness.sent(other)

    desk(harness, assignment(other, INDUSTRY))

    assert harness.kinds(other) == ["dutydesk:cancelled", f"{INDUSTRY}:order", "TicketDispatched"]
    assert harness.seen(other).dispatch.epoch == 2
    with pytest.raises(StateConflict):
        desk(harness, assignment(other, MARKET))
    class_code = harness.rows("SELECT class_code FROM dispatcher.assignment WHERE ticket_id = :id AND epoch = 2", id=other)
    assert class_code[0].class_code == "power_supply"


def test_the_desk_declines_with_the_right_channel(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id, ("other", 0.9)))
    harness.tick(40 * SECOND)
    harness.sent(ticket_id)

    desk(harness, DeclineByDesk(desk="desk-1", ticket_id=ticket_id, reason="个人事务", right_channel="12345"))

    assert harness.kinds(ticket_id) == ["dutydesk:cancelled", "TicketDeclined"]
    seen = harness.seen(ticket_id)
    assert seen.dispatch.state is State.DECLINED
    assert seen.decision is not None
    assert seen.decision.decided_by == "desk-1"


def test_a_return_follows_a_valid_suggestion_under_a_new_epoch(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id))
    harness.sent(ticket_id)

    harness.feed(returning(INDUSTRY, ticket_id, to=MARKET))

    sent = harness.sent(ticket_id)
    assert [each.kind for each in sent] == [
        f"{INDUSTRY}:cancelled",
        f"{YUZHONG}:cancelled",
        "TicketReturned",
        f"{MARKET}:order",
        "TicketDispatched",
    ]
    assert sent[0].body.cancelled.reason == "RETURNED"
    assert (sent[2].body.epoch, sent[2].body.bounce_count, sent[2].body.suggested_unit) == (1, 1, MARKET)
    assert (sent[4].body.epoch, sent[4].body.method) == (2, dispatch_pb2.DISPATCH_METHOD_SUGGESTION)


def test_a_wrong_district_goes_to_the_district_that_the_team_named_even_by_its_old_code(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id, text="营业执照换地址"), classified(ticket_id, ("business_registration", 0.9)))

    harness.feed(returning(YUZHONG, ticket_id, to="500105", reason="WRONG_DISTRICT"))

    dispatch = harness.seen(ticket_id).dispatch
    assert dispatch.assignment is not None
    assert (dispatch.assignment.lead, dispatch.assignment.district.code) == ("500171", "500171")
    assert dispatch.assignment.co_handlers == ("swj", "gaj")


def test_a_return_without_suggestion_waits_for_the_desk_and_falls_to_the_duty_desk_after_forty_seconds(
    harness: Harness, ticket_id: TicketId
) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id))
    harness.clock.advance(timedelta(hours=5))
    harness.sent(ticket_id)
    harness.feed(returning(INDUSTRY, ticket_id, reason="INSUFFICIENT_INFORMATION"))

    assert harness.kinds(ticket_id)[-1] == "TicketSentToTriage"
    harness.tick(39 * SECOND)
    assert harness.sent(ticket_id) == []
    harness.tick(2 * SECOND)

    assert harness.kinds(ticket_id) == ["dutydesk:order", "TicketDispatched"]
    triage = harness.seen(ticket_id).dispatch.triage
    assert triage is not None
    assert (triage.reason, triage.return_note) == (TriageReason.RETURNED, "不归我们")
    assert INDUSTRY not in {candidate.unit for candidate in triage.candidates}


def test_a_circle_goes_to_the_arbiter_whose_decision_cannot_be_returned(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id))
    harness.feed(returning(INDUSTRY, ticket_id, to=MARKET))
    harness.feed(returning(MARKET, ticket_id, 2, to=INDUSTRY))
    triage = harness.seen(ticket_id).dispatch.triage
    desk(harness, assignment(ticket_id, INDUSTRY))
    harness.sent(ticket_id)

    harness.feed(returning(INDUSTRY, ticket_id, 3, to=MARKET))

    assert triage is not None
    assert triage.reason is TriageReason.BOUNCED
    [refused] = harness.sent(ticket_id)
    assert refused.body.refused.reason == "ERROR_REASON_DECISION_IS_FINAL"
    assert harness.seen(ticket_id).dispatch.final


def test_the_third_return_exhausts_the_budget(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id))
    for epoch, (unit, to) in enumerate([(INDUSTRY, MARKET), (MARKET, FINANCE), (FINANCE, "kjj")], start=1):
        harness.feed(returning(unit, ticket_id, epoch, to=to))

    dispatch = harness.seen(ticket_id).dispatch

    assert dispatch.bounce_count == 3
    assert dispatch.triage is not None
    assert dispatch.triage.reason is TriageReason.BOUNCED


def test_the_duty_desks_own_system_may_decide_by_returning_with_a_suggestion(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id, ("power_supply", 0.4)))
    harness.tick(40 * SECOND)
    harness.sent(ticket_id)

    harness.feed(returning(DUTY_DESK, ticket_id), returning(DUTY_DESK, ticket_id, to=MARKET))

    assert harness.kinds(ticket_id) == [
        "dutydesk:refused",
        "dutydesk:cancelled",
        "TicketReturned",
        f"{MARKET}:order",
        "TicketDispatched",
    ]
    assert harness.seen(ticket_id).dispatch.triage is None


def test_a_transfer_cancels_the_former_units_and_orders_the_new_one(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id), accepting(INDUSTRY, ticket_id))
    harness.sent(ticket_id)

    desk(harness, Transfer(desk="desk-1", ticket_id=ticket_id, epoch=1, unit=MARKET, reason="职责调整"))

    sent = harness.sent(ticket_id)
    assert [each.kind for each in sent] == [f"{INDUSTRY}:cancelled", f"{YUZHONG}:cancelled", f"{MARKET}:order", "TicketDispatched"]
    assert sent[0].body.cancelled.reason == "TRANSFERRED"
    assert sent[2].body.order.note == "职责调整"
    ended = harness.rows("SELECT end_reason, accept_time FROM dispatcher.assignment WHERE ticket_id = :id AND epoch = 1", id=ticket_id)
    assert (ended[0].end_reason, ended[0].accept_time) == ("TRANSFERRED", NOON)


def test_a_withdrawal_stops_the_units(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id))
    harness.sent(ticket_id)

    harness.feed(withdrawn(ticket_id))

    sent = harness.sent(ticket_id)
    assert [each.kind for each in sent] == [f"{INDUSTRY}:cancelled", f"{YUZHONG}:cancelled"]
    assert (sent[0].body.cancelled.reason, sent[0].body.cancelled.note) == ("WITHDRAWN", "已自行解决")


def test_a_resolved_ticket_that_is_reopened_goes_back_to_its_unit(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id), resolving(INDUSTRY, ticket_id))
    assert harness.kinds(ticket_id)[-2:] == ["TicketAccepted", "TicketResolved"]

    harness.feed(reopened(ticket_id))

    sent = harness.sent(ticket_id)
    assert [each.kind for each in sent] == [f"{INDUSTRY}:order", f"{YUZHONG}:order", "TicketDispatched"]
    assert sent[0].body.order.note == "又停电了"
    assert (sent[2].body.epoch, sent[2].body.method) == (2, dispatch_pb2.DISPATCH_METHOD_REOPEN)


def test_a_reopening_of_what_is_not_resolved_is_a_dead_letter(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id))
    harness.sent(ticket_id)

    harness.feed(reopened(ticket_id))

    [dead] = harness.sent(ticket_id)
    assert (dead.topic, dead.headers["dlq_reason"]) == ("intake.tickets.v1.dlq", "STATE_CONFLICT")


def test_a_question_and_its_answer_go_both_ways(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id))
    harness.feed(receipt(INDUSTRY, {"receiptId": "q-1", "ticketId": ticket_id, "epoch": 1, "requestSupplement": {"question": "户号?"}}))
    asked = harness.kinds(ticket_id)

    harness.feed(supplemented(ticket_id))

    sent = harness.sent(ticket_id)
    assert asked[-2:] == ["TicketAccepted", "SupplementRequested"]
    assert [each.kind for each in sent] == [f"{INDUSTRY}:supplement", f"{YUZHONG}:supplement"]
    assert (sent[0].body.supplement.text, list(sent[0].body.supplement.attachment_refs)) == ("户号 123", ["a.pdf"])
    assert harness.seen(ticket_id).dispatch.state is State.ACCEPTED


def test_whoever_gets_the_ticket_later_gets_the_supplements_too(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id), supplemented(ticket_id))
    harness.sent(ticket_id)

    harness.feed(returning(INDUSTRY, ticket_id, to=MARKET))

    assert f"{MARKET}:supplement" in harness.kinds(ticket_id)


def test_an_extension_is_asked_for_granted_and_told(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), classified(ticket_id))
    harness.feed(
        receipt(INDUSTRY, {"receiptId": "e-1", "ticketId": ticket_id, "epoch": 1, "requestExtension": {"workdays": 3, "reason": "等设备"}}),
    )
    harness.sent(ticket_id)

    desk(harness, DecideExtension(desk="desk-1", ticket_id=ticket_id, granted=True, workdays=0, note="同意"))

    sent = harness.sent(ticket_id)
    assert [each.kind for each in sent] == [f"{INDUSTRY}:extension", "ExtensionDecided"]
    assert (sent[1].body.granted, sent[1].body.workdays, sent[1].body.note) == (True, 3, "同意")


def test_the_lead_hears_of_its_due_time_with_the_order_or_when_it_becomes_known(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id), deadline(ticket_id), classified(ticket_id))
    with_order = harness.sent(ticket_id)
    harness.feed(
        deadline(ticket_id, sla.DeadlinePaused, due=None),
        deadline(ticket_id, sla.DeadlineMet),
        deadline(ticket_id, sla.DeadlineBreached, kind=deadline_pb2.DEADLINE_KIND_DISPATCH),
    )
    later = harness.sent(ticket_id)

    assert [each.kind for each in with_order] == [f"{INDUSTRY}:order", f"{YUZHONG}:order", f"{INDUSTRY}:deadline", "TicketDispatched"]
    assert [(each.kind, each.body.deadline.kind, each.body.deadline.HasField("due_time")) for each in later] == [
        (f"{INDUSTRY}:deadline", "PAUSED", False),
    ]
    assert harness.seen(ticket_id).dispatch.due_time is None


def test_units_are_learned_from_once_for_each_effective_receipt(harness: Harness) -> None:
    tickets = [new_ticket() for _ in range(3)]
    counted = "SELECT COALESCE(sum(kept), 0) AS kept, COALESCE(sum(returned), 0) AS returned FROM dispatcher.keep_stat WHERE unit = 'kawlb'"
    for ticket_id in tickets:
        harness.feed(submitted(ticket_id, text="班列"), classified(ticket_id, ("port_logistics", 0.95)))

    repeated = accepting("kawlb", tickets[0])
    harness.feed(repeated, again(repeated), accepting("kawlb", tickets[0]), accepting("kawlb", tickets[1], epoch=9))
    harness.feed(returning("kawlb", tickets[1], to="sww"))
    harness.feed(accepting("kawlb", tickets[2]))
    harness.feed(returning("kawlb", tickets[2], to="sww"))

    [row] = harness.rows(counted)
    assert (row.kept, row.returned) == (1, 2)


def test_experience_moves_later_choices(harness: Harness, ticket_id: TicketId) -> None:
    with harness.engine.begin() as conn:
        conn.exec_driver_sql(
            "INSERT INTO dispatcher.keep_stat VALUES ('hg', 'customs_clearance', 0, 500), ('sww', 'customs_clearance', 500, 0)"
        )

    harness.feed(submitted(ticket_id, text="报关"), classified(ticket_id, ("customs_clearance", 0.95)))

    dispatch = harness.seen(ticket_id).dispatch
    assert dispatch.assignment is not None
    assert dispatch.assignment.lead == "sww"


def test_the_guard_continues_the_trace_of_the_submission(harness: Harness, ticket_id: TicketId) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    harness.feed(submitted(ticket_id, text="变压器增容报装", traceparent=f"00-{trace_id}-b7ad6b7169203331-01"))

    harness.tick(15 * SECOND)

    assert {each.headers["traceparent"].split("-")[1] for each in harness.sent(ticket_id)} == {trace_id}


def test_what_happens_is_counted_by_method_unit_class_and_reason(harness: Harness, ticket_id: TicketId) -> None:
    harness.feed(submitted(ticket_id))
    harness.clock.advance(2 * SECOND)
    harness.feed(classified(ticket_id))
    harness.feed(accepting(INDUSTRY, ticket_id), returning(INDUSTRY, ticket_id, to=MARKET))

    assert harness.count("paidan_dispatcher_dispatches_total", method="AUTO") == 1
    assert harness.count("paidan_dispatcher_dispatches_total", method="SUGGESTION") == 1
    assert harness.count("paidan_dispatcher_dispatches_by_unit_total", unit=MARKET) == 1
    assert harness.count("paidan_dispatcher_dispatches_by_class_total", class_code="power_supply") == 2
    assert harness.count("paidan_dispatcher_returns_total", reason="NOT_OUR_COMPETENCE") == 1
    assert harness.count("paidan_dispatcher_dispatch_seconds_count") == 1
    assert harness.count("paidan_dispatcher_dispatch_seconds_sum") == 2
    assert harness.count("paidan_dispatcher_dispatch_seconds_bucket", le="60.0") == 1
