"""The minute holds while the classifier is away: rules, then the duty desk, each counted apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from paidan.dispatcher.v1 import dispatcher_service_pb2 as pb
from tests.support.requests import CREDIT, CUSTOMS, FIRE_REVIEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paidan.dispatcher.v1 import dispatch_pb2
    from tests.support.actors import Desk, Portal, Unit
    from tests.support.city import City

    Units = Callable[[str], Unit]

VAGUE = "之前反映的那个问题怎么还没有解决"
HAND_ON = {"reason": "RETURN_REASON_NOT_OUR_COMPETENCE", "suggestedUnit": "jjxxw", "note": "经核实为惠企政策"}
_MINUTE = timedelta(seconds=60)


@pytest.fixture
def _without_classifier(city: City) -> Iterator[None]:
    classifier = city.stack.services["classifier"]
    classifier.process.kill()
    yield
    classifier.start()
    classifier.wait_ready()


@pytest.mark.usefixtures("_without_classifier")
def test_without_the_classifier_every_ticket_reaches_a_unit_within_the_minute_by_rules_or_the_duty_desk(
    city: City, portal: Portal, unit: Units, desk: Desk
) -> None:
    before = _dispatches_by_method(city)

    clear = [(matter, portal.submit(matter)) for matter in (FIRE_REVIEW, CREDIT, CUSTOMS)]
    vague = portal.submit(text=VAGUE, district="500107")
    by_rules = [unit(matter.lead).order(ticket_id) for matter, ticket_id in clear]
    by_duty_desk = unit("dutydesk").order(vague)
    waiting = desk.item(vague)
    unit("dutydesk").answer(vague, 1, **{"return": HAND_ON})
    handed_on = unit("jjxxw").order(vague, epoch=2)

    for (_, ticket_id), order in zip(clear, by_rules, strict=True):
        assert order["order"]["method"] == "DISPATCH_METHOD_RULES"
        assert _took(portal, ticket_id, order) < _MINUTE
        assert _decision(city, ticket_id).rules_hit
    assert by_duty_desk["order"]["method"] == "DISPATCH_METHOD_FALLBACK"
    assert _took(portal, vague, by_duty_desk) < _MINUTE
    assert waiting.held_by_duty_desk
    assert handed_on["order"]["method"] == "DISPATCH_METHOD_SUGGESTION"
    for ticket_id in (vague, *(ticket_id for _, ticket_id in clear)):
        assert portal.until_deadline(ticket_id, "MET", "DISPATCH").ticket_id == ticket_id
    after = _dispatches_by_method(city)
    counted = {method: after.get(method, 0) - before.get(method, 0) for method in after}
    assert {method: count for method, count in counted.items() if count} == {"RULES": 3, "FALLBACK": 1, "SUGGESTION": 1}


def _took(portal: Portal, ticket_id: str, order: dict[str, str]) -> timedelta:
    return datetime.fromisoformat(order["sendTime"]) - portal.ticket(ticket_id).create_time.ToDatetime(UTC)


def _decision(city: City, ticket_id: str) -> dispatch_pb2.DecisionRecord:
    request = pb.GetDispatchRequest(ticket_id=ticket_id)
    return city.dispatcher.GetDispatch(request, metadata=city.operator, timeout=10).dispatch.decision


def _dispatches_by_method(city: City) -> dict[str, int]:
    """Return the counters of dispatches by method, as Prometheus scrapes them."""
    with urlopen(f"http://{city.stack.services['dispatcher'].metrics_address}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    counters = next(family for family in families if family.name == "paidan_dispatcher_dispatches")
    return {sample.labels["method"]: int(sample.value) for sample in counters.samples if sample.name.endswith("_total")}
