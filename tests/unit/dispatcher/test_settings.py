from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from services.dispatcher.domain.values import Policy
from services.dispatcher.settings import DispatcherSettings


def test_the_defaults_are_those_of_the_policy() -> None:
    assert DispatcherSettings().policy() == Policy()


@pytest.mark.parametrize(
    ("rules", "fallback"),
    [("PT40S", "PT40S"), ("PT41S", "PT40S"), ("PT0S", "PT40S"), ("PT15S", "PT56S"), ("PT15S", "PT10M")],
)
def test_a_ladder_that_does_not_fit_into_the_minute_is_refused(monkeypatch: pytest.MonkeyPatch, rules: str, fallback: str) -> None:
    monkeypatch.setenv("PAIDAN_DISPATCHER_RULES_AFTER", rules)
    monkeypatch.setenv("PAIDAN_DISPATCHER_FALLBACK_AFTER", fallback)

    with pytest.raises(ValidationError, match="before the minute is over"):
        DispatcherSettings()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIDAN_DISPATCHER_THRESHOLD", "0.62")
    monkeypatch.setenv("PAIDAN_DISPATCHER_BOUNCE_BUDGET", "5")
    monkeypatch.setenv("PAIDAN_DISPATCHER_RULES_AFTER", "PT10S")

    policy = DispatcherSettings().policy()

    assert (policy.threshold, policy.bounce_budget, policy.rules_after) == (0.62, 5, timedelta(seconds=10))
