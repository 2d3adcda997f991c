from __future__ import annotations

from datetime import time, timedelta

import pytest
from pydantic import ValidationError

from services.sla.settings import SlaSettings
from tests.unit.sla.builders import calendar, shanghai


def test_the_promises_are_the_published_ones_unless_set_otherwise() -> None:
    rules = SlaSettings().rules(calendar())

    assert rules.dispatch.within == timedelta(seconds=60)
    assert rules.dispatch.at_risk_after == timedelta(seconds=45)
    assert rules.resolution.workdays == 3
    assert rules.resolution.clock.close_of_business is None
    assert rules.resolution.at_risk_at == time(9)


def test_the_catalogues_notices_are_where_the_settings_say() -> None:
    assert SlaSettings().notices.is_file()


def test_the_environment_sets_what_a_deployment_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIDAN_SLA_CLOSE_OF_BUSINESS", "18:00")
    monkeypatch.setenv("PAIDAN_SLA_WORKDAYS", "5")
    monkeypatch.setenv("PAIDAN_SLA_DISPATCH_GRACE", "PT2.5S")

    rules = SlaSettings().rules(calendar())

    assert rules.dispatch.grace == timedelta(seconds=2.5)
    assert rules.resolution.due(shanghai("2026-11-23T19:00"), (), 0) == shanghai("2026-12-01T18:00")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("PAIDAN_SLA_DISPATCH_AT_RISK_AFTER", "PT60S", "must be less than PAIDAN_SLA_DISPATCH_WITHIN"),
        ("PAIDAN_SLA_DISPATCH_WITHIN", "PT45S", "must be less than PAIDAN_SLA_DISPATCH_WITHIN"),
        ("PAIDAN_SLA_CLOSE_OF_BUSINESS", "08:00", "must be before PAIDAN_SLA_CLOSE_OF_BUSINESS"),
        ("PAIDAN_SLA_WORKDAYS", "0", "greater than or equal to 1"),
        ("PAIDAN_SLA_DISPATCH_GRACE", "-PT1S", "greater than or equal to 0"),
        ("PAIDAN_SLA_RESOLUTION_GRACE", "-PT1S", "greater than or equal to 0"),
    ],
)
def test_settings_that_contradict_each_other_stop_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError, match=problem):
        SlaSettings()
