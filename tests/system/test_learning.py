"""What units and the desk do becomes something to learn from, by the services' own events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from cli.connection import VARIABLE
from cli.main import app
from paidan.intake.v1 import ticket_pb2
from tests.support.requests import CREDIT, CUSTOMS, LOAN
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.actors import Desk, Portal, Unit
    from tests.support.city import City

    Units = Callable[[str], Unit]

NOT_OURS = {"reason": "RETURN_REASON_NOT_OUR_COMPETENCE", "note": "不属于我单位职责"}


def outcomes(city: City) -> list[dict[str, Any]]:
    """Return what `paidan model outcomes` prints against the city's database."""
    environment = {"DATABASE_URL": city.database_url, VARIABLE: "/no/connection/file"}
    result = CliRunner().invoke(app, ["model", "outcomes", "--json"], env=environment, catch_exceptions=False)
    return [json.loads(line) for line in result.stdout.splitlines()]


def outcome(city: City, ticket_id: str, label: str, source: str) -> dict[str, Any]:
    """Return a ticket's outcome, once it names that class for that reason."""

    def there() -> dict[str, Any] | None:
        wanted = (ticket_id, label, source)
        return next((record for record in outcomes(city) if (record["id"], record["label"], record["source"]) == wanted), None)

    return eventually(there, f"{source} outcome of {ticket_id}", every=1)


def test_a_ticket_that_is_solved_and_praised_confirms_its_class_a_little(city: City, portal: Portal, unit: Units) -> None:
    ticket_id = portal.submit(CUSTOMS)
    unit(CUSTOMS.lead).order(ticket_id)
    unit(CUSTOMS.lead).answer(ticket_id, 1, resolve={"resolution": "已放行"})
    portal.until(ticket_id, "RESOLVED")
    portal.rate(ticket_id, ticket_pb2.SOLVED_YES, 5)

    record = outcome(city, ticket_id, CUSTOMS.class_code, "kept")

    assert record["predicted"] == CUSTOMS.class_code
    assert 0 < record["weight"] <= 0.3


def test_a_class_that_the_desk_names_after_a_return_counts_more(city: City, portal: Portal, unit: Units, desk: Desk) -> None:
    ticket_id = portal.submit(CREDIT)
    unit(CREDIT.lead).order(ticket_id)
    unit(CREDIT.lead).answer(ticket_id, 1, **{"return": NOT_OURS})
    desk.item(ticket_id)
    desk.assign(ticket_id, "jrb", class_code="loan_financing", note="请金融办牵头")
    unit("jrb").order(ticket_id, epoch=2)
    unit("jrb").answer(ticket_id, 2, accept={})

    record = outcome(city, ticket_id, "loan_financing", "desk_decision")

    assert record["predicted"] == CREDIT.class_code
    assert record["weight"] > 0.3


def test_of_a_confidential_request_nothing_is_learnt(city: City, portal: Portal, unit: Units) -> None:
    secret, public = portal.submit(LOAN, confidential=True), portal.submit(LOAN)
    for ticket_id in (secret, public):
        unit(LOAN.lead).order(ticket_id)
        unit(LOAN.lead).answer(ticket_id, 1, accept={})

    outcome(city, public, LOAN.class_code, "kept")

    assert secret not in {record["id"] for record in outcomes(city)}
