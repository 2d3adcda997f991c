"""The ports `Contacts` and `Enterprises`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from services.intake.adapters import tables
from services.intake.domain.ticket import Contact, Enterprise
from services.intake.domain.types import DistrictCode
from tests.unit.intake.builders import HELPER, LEAD, NOW, STRANGER, dispatch, some_uscc, ticket

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.intake.domain.ticket import Ticket
    from tests.contract.intake.conftest import OpenUnitOfWork

CONTACT = Contact(name="王小明", phone="023-67890000")


def dispatched(open_unit_of_work: OpenUnitOfWork) -> Ticket:
    made = ticket()
    made.dispatched(dispatch(helpers=(HELPER, STRANGER)))
    with open_unit_of_work() as uow:
        uow.tickets.add(made, CONTACT)
        uow.commit()
    return made


@pytest.mark.parametrize("by", ["ticket_id", "number"])
@pytest.mark.parametrize("unit", [LEAD, HELPER, STRANGER])
def test_who_leads_or_helps_is_given_ticket_and_contact(open_unit_of_work: OpenUnitOfWork, by: str, unit: str) -> None:
    made = dispatched(open_unit_of_work)

    with open_unit_of_work() as uow:
        assert uow.contacts.of_ticket_with(getattr(made, by), unit) == (made, CONTACT)


@pytest.mark.parametrize("unit", ["kjj2", "", "scjg", "SCJGJ"])
def test_nobody_else_is_given_anything(open_unit_of_work: OpenUnitOfWork, unit: str) -> None:
    made = dispatched(open_unit_of_work)

    with open_unit_of_work() as uow:
        assert uow.contacts.of_ticket_with(made.ticket_id, unit) is None


def test_a_ticket_that_nobody_holds_gives_its_contact_to_nobody(open_unit_of_work: OpenUnitOfWork) -> None:
    made = ticket()
    with open_unit_of_work() as uow:
        uow.tickets.add(made, CONTACT)
        uow.commit()

    with open_unit_of_work() as uow:
        assert [uow.contacts.of_ticket_with(made.ticket_id, unit) for unit in (LEAD, HELPER, "")] == [None] * 3


def test_a_look_is_recorded_with_the_commit_and_not_without(open_unit_of_work: OpenUnitOfWork, admin: Engine) -> None:
    made = dispatched(open_unit_of_work)
    for commit in (True, False, True):
        with open_unit_of_work() as uow:
            uow.contacts.record_look(made.ticket_id, LEAD, NOW)
            if commit:
                uow.commit()

    with admin.connect() as conn:
        looks = conn.execute(select(tables.contact_look_table)).all()

    assert [(look.ticket_id, look.unit, look.look_time) for look in looks] == [(made.ticket_id, LEAD, NOW)] * 2


def test_a_contact_does_not_print_itself() -> None:
    assert "王小明" not in repr(CONTACT)
    assert "67890000" not in repr(CONTACT)


def enterprise(seed: int, name: str = "甲公司", district: str = "500107") -> Enterprise:
    return Enterprise(uscc=some_uscc(seed), name=name, district=DistrictCode(district))


def test_the_registry_tells_the_districts_of_those_that_it_knows(open_unit_of_work: OpenUnitOfWork) -> None:
    with open_unit_of_work() as uow:
        uow.enterprises.put([enterprise(1), enterprise(2, district="500112")])
        uow.commit()

    with open_unit_of_work() as uow:
        found = uow.enterprises.districts([some_uscc(1), some_uscc(2), some_uscc(2), some_uscc(3)])
        nothing = uow.enterprises.districts([])

    assert found == {some_uscc(1): "500107", some_uscc(2): "500112"}
    assert nothing == {}


def test_what_is_put_again_replaces_what_was_known_and_the_last_of_a_batch_counts(open_unit_of_work: OpenUnitOfWork) -> None:
    for batch in ([enterprise(1)], [enterprise(1, district="500108"), enterprise(1, district="500109")], []):
        with open_unit_of_work() as uow:
            uow.enterprises.put(batch)
            uow.commit()

    with open_unit_of_work() as uow:
        assert uow.enterprises.districts([some_uscc(1)]) == {some_uscc(1): "500109"}


def test_a_registry_of_many_thousands_is_put_at_once(open_unit_of_work: OpenUnitOfWork) -> None:
    many = [enterprise(seed) for seed in range(2000)]

    with open_unit_of_work() as uow:
        uow.enterprises.put(many)
        uow.commit()

    with open_unit_of_work() as uow:
        assert len(uow.enterprises.districts([each.uscc for each in many])) == len({each.uscc for each in many})
