"""Every service has its relay, consumers and timers watched, and its health follows them."""

from __future__ import annotations

from importlib import import_module

import pytest

from chassis.grpc import GrpcServer
from chassis.watchdog import Watchdog

URL = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
LOOPS = {
    "intake": {"relay", "consumer paidan-intake", "timer close-resolved", "timer forget-messages"},
    "dispatcher": {"relay", "consumer paidan-dispatcher", "timer guard-minute", "timer gauge", "timer forget-messages"},
    "sla": {"relay", "consumer paidan-sla", "timer calendar", "timer due", "timer tallies", "timer forget-messages"},
    "classifier": {"relay", "consumer paidan-classifier", "timer model_watch", "timer forget-outcomes"},
}


@pytest.mark.parametrize("service", LOOPS)
def test_a_service_watches_its_loops_and_its_health_follows_them(service: str) -> None:
    settings = getattr(import_module(f"services.{service}.settings"), f"{service.capitalize()}Settings")(database_url=URL)

    components = import_module(f"services.{service}.bootstrap").build(settings)

    (watchdog,) = (each for each in components if isinstance(each, Watchdog))
    (server,) = (each for each in components if isinstance(each, GrpcServer))
    assert {progress.name for progress in watchdog._watched} >= LOOPS[service]
    assert server._healthy == watchdog.healthy
