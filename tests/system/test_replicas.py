"""Two of each service at once: the work is shared, and no effect happens twice."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from deploy.local.stack import LocalService
from tests.fault.checks import gather, judge, report
from tests.fault.ledger import Ledger
from tests.fault.load import Load
from tests.fault.units import Units, settle

if TYPE_CHECKING:
    from tests.support.city import City


def test_two_replicas_of_each_service_share_the_load_without_a_double_effect(city: City) -> None:
    ledger = Ledger(city.new_portal())
    units, buried = Units(city), len(city.dead_letters())
    units.follow(ledger)
    with ExitStack() as resources:
        units.start()
        resources.callback(units.stop)
        doors = [city.stack.services["intake"].address]
        for replica in _start_second_replicas(city, resources):
            replica.wait_ready()
            if replica.name == "intake":
                doors.append(replica.address)
        with Load(ledger, city.token_of_portal(ledger.portal), doors, burst=90) as load:
            load.go_on_for(90)
        settle(city, units, [ticket_id for ids in ledger.acknowledged.values() for ticket_id in ids])
        violations = judge(gather(city, ledger, dead_letters_before=buried))

    assert not violations, report(violations)
    assert ledger.unanswered == []
    assert {attempt.code for attempt in ledger.attempts} == {"OK"}


def _start_second_replicas(city: City, resources: ExitStack) -> list[LocalService]:
    replicas = [LocalService(name, parts=city.stack.parts, log_dir=city.stack.log_dir, label="-2") for name in city.stack.services]
    for replica in replicas:
        resources.callback(replica.stop)
        replica.start()
    return replicas
