"""Nobody sees another's tickets (I6), and contacts are for the lead unit alone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.request import urlopen

import grpc
import pytest

from paidan.classifier.v1 import classifier_service_pb2 as classifier
from paidan.dispatcher.v1 import dispatcher_service_pb2 as dispatcher
from paidan.intake.v1 import intake_service_pb2 as intake
from paidan.sla.v1 import sla_service_pb2 as sla
from tests.support.actors import Portal
from tests.support.refusals import refused
from tests.support.requests import CONTACT, ENTERPRISE, FREIGHT, LOAN, PHONE, PLANNING, USCC

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.actors import Unit
    from tests.support.city import City

    Units = Callable[[str], Unit]


def test_a_confidential_request_hides_the_enterprise_on_every_unit_topic(city: City, portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(LOAN, confidential=True)
    order = unit(LOAN.lead).order(ticket_id)["order"]
    helpers = [unit(code).order(ticket_id)["order"] for code in order["coHandlerUnits"]]
    city.catch_up()

    on_unit_topics = [record.value.decode() for record in city.records(ticket_id) if record.topic.startswith("dispatch.")]

    assert order["confidential"] is True
    assert {each["role"] for each in helpers} == {"UNIT_ROLE_CO_HANDLER"}
    assert [each.get("uscc", "") + each.get("enterpriseName", "") for each in (order, *helpers)] == [""] * (1 + len(helpers))
    assert [value for value in on_unit_topics if USCC in value or ENTERPRISE in value] == []


def test_the_lead_reads_the_contact_and_each_look_is_recorded(city: City, portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(LOAN, confidential=True)
    portal.until(ticket_id, "DISPATCHED")

    answer = unit(LOAN.lead).contact(ticket_id)
    unit(LOAN.lead).contact(ticket_id)
    looks = city.query("SELECT unit FROM intake.contact_look WHERE ticket_id = :id", id=ticket_id)

    assert (answer.contact.name, answer.contact.phone) == (CONTACT, PHONE)
    assert (answer.enterprise.uscc, answer.enterprise.name) == (USCC, ENTERPRISE)
    assert [look.unit for look in looks] == [LOAN.lead, LOAN.lead]


def test_a_co_handler_and_a_stranger_do_not_read_the_contact(city: City, portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(LOAN)
    helper = portal.until(ticket_id, "DISPATCHED").co_handler_units[0]

    with refused(grpc.StatusCode.PERMISSION_DENIED, "NOT_LEAD_UNIT"):
        unit(helper).contact(ticket_id)
    with refused(grpc.StatusCode.NOT_FOUND, "TICKET_NOT_FOUND"):
        unit("500243").contact(ticket_id)

    assert city.query("SELECT FROM intake.contact_look WHERE ticket_id = :id", id=ticket_id) == []


def test_a_unit_that_lost_the_ticket_does_not_read_the_contact_any_more(portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(LOAN)
    unit(LOAN.lead).order(ticket_id)
    unit(LOAN.lead).answer(ticket_id, 1, **{"return": {"reason": "RETURN_REASON_NOT_OUR_COMPETENCE", "suggestedUnit": "kjj"}})
    portal.until(ticket_id, "DISPATCHED", epoch=2)

    with refused(grpc.StatusCode.NOT_FOUND, "TICKET_NOT_FOUND"):
        unit(LOAN.lead).contact(ticket_id)

    assert unit("kjj").contact(ticket_id).contact.phone == PHONE


def test_another_portal_does_not_see_the_ticket_nor_its_deadlines(city: City, portal: Portal) -> None:
    ticket_id = portal.submit(PLANNING)
    number = portal.until(ticket_id, "DISPATCHED").number
    portal.until_deadline(ticket_id, "RUNNING")
    other = Portal(city)

    for reference in (ticket_id, number):
        with refused(grpc.StatusCode.NOT_FOUND, "TICKET_NOT_FOUND"):
            other.ticket(reference)
        with refused(grpc.StatusCode.NOT_FOUND, "TICKET_NOT_FOUND"):
            other.changes(reference, until="submitted")
        with refused(grpc.StatusCode.NOT_FOUND, "TICKET_NOT_FOUND"):
            other.withdraw(reference)
    with refused(grpc.StatusCode.NOT_FOUND, "TICKET_NOT_FOUND"):
        other.deadline(ticket_id)

    assert list(city.intake.ListTickets(intake.ListTicketsRequest(), metadata=other.metadata, timeout=10).tickets) == []
    assert portal.ticket(number).ticket_id == ticket_id


def test_another_unit_does_not_see_the_dispatch_and_cannot_act_on_it(city: City, portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(FREIGHT)
    unit(FREIGHT.lead).order(ticket_id)
    stranger = unit("500243")

    with refused(grpc.StatusCode.NOT_FOUND, "DISPATCH_NOT_FOUND"):
        stranger.dispatch(ticket_id)
    with refused(grpc.StatusCode.NOT_FOUND, "DISPATCH_NOT_FOUND"):
        city.dispatcher.Accept(dispatcher.AcceptRequest(ticket_id=ticket_id, epoch=1), metadata=stranger.metadata, timeout=10)
    own = city.dispatcher.ListDispatches(dispatcher.ListDispatchesRequest(), metadata=stranger.metadata, timeout=10)
    asked = city.dispatcher.ListDispatches(dispatcher.ListDispatchesRequest(unit=FREIGHT.lead), metadata=stranger.metadata, timeout=10)

    assert ticket_id not in {each.ticket_id for each in own.dispatches}
    assert list(asked.dispatches) == []
    assert unit(FREIGHT.lead).dispatch(ticket_id).ticket_id == ticket_id


def test_a_unit_reads_deadlines_of_what_it_leads_and_of_nothing_else(city: City, portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(FREIGHT)
    portal.until_deadline(ticket_id, "MET", "DISPATCH")
    request = sla.GetDeadlinesRequest(ticket_id=ticket_id)

    with refused(grpc.StatusCode.NOT_FOUND, "TICKET_NOT_FOUND"):
        city.sla.GetDeadlines(request, metadata=unit("500243").metadata, timeout=10)
    answer = city.sla.GetDeadlines(request, metadata=unit(FREIGHT.lead).metadata, timeout=10)

    assert {each.ticket_id for each in answer.deadlines} == {ticket_id}


@pytest.mark.parametrize("service", ["intake", "classifier", "dispatcher", "sla"])
def test_without_a_token_nothing_is_answered(city: City, service: str) -> None:
    calls = {
        "intake": lambda: city.intake.ListTickets(intake.ListTicketsRequest(), timeout=10),
        "classifier": lambda: city.classifier.ListClasses(classifier.ListClassesRequest(), timeout=10),
        "dispatcher": lambda: city.dispatcher.GetCatalogue(dispatcher.GetCatalogueRequest(), timeout=10),
        "sla": lambda: city.sla.ListDue(sla.ListDueRequest(), timeout=10),
    }

    with refused(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"):
        calls[service]()


def test_a_role_may_not_call_what_the_table_does_not_give_it(city: City, portal: Portal, unit: Units) -> None:
    with refused(grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED"):
        city.dispatcher.ListTriage(dispatcher.ListTriageRequest(), metadata=unit("kjj").metadata, timeout=10)
    with refused(grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED"):
        city.intake.GetContact(intake.GetContactRequest(ticket_id="any"), metadata=city.operator, timeout=10)
    with refused(grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED"):
        city.sla.ListDue(sla.ListDueRequest(), metadata=portal.metadata, timeout=10)


def test_contacts_are_on_no_topic_in_no_log_and_in_no_metric(city: City, portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(LOAN)
    portal.until(ticket_id, "DISPATCHED")
    unit(LOAN.lead).contact(ticket_id)
    unit(LOAN.lead).answer(ticket_id, 1, resolve={"resolution": "已对接银行"})
    portal.until(ticket_id, "RESOLVED")
    city.catch_up()

    topics = [
        record.topic
        for record in city.all_records()
        if _speaks_of_contact(record.value) or _speaks_of_contact(str(record.headers).encode())
    ]
    logs = [path.name for path in city.stack.log_dir.iterdir() if _speaks_of_contact(path.read_bytes())]
    metrics = [name for name, service in city.stack.services.items() if _speaks_of_contact(_scrape(service.metrics_address))]

    assert (topics, logs, metrics) == ([], [], [])


def _speaks_of_contact(value: bytes) -> bool:
    """Tell whether bytes hold the contact, as UTF-8 or as JSON escapes it."""
    escaped = CONTACT.encode("unicode_escape")
    return any(word in value for word in (CONTACT.encode(), escaped, PHONE.encode()))


def _scrape(address: str) -> bytes:
    with urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return answer.read()
