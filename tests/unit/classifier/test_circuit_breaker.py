from __future__ import annotations

from services.classifier.adapters.language_model import CircuitBreaker


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(seconds: Seconds) -> CircuitBreaker:
    breaker = CircuitBreaker(seconds)
    for _ in range(5):
        breaker.failed()
    return breaker


def test_a_few_failures_with_a_success_between_do_not_open_it() -> None:
    breaker = CircuitBreaker(Seconds())
    for _ in range(4):
        breaker.failed()
    breaker.succeeded()
    breaker.failed()

    assert breaker.lets_through()
    assert not breaker.is_open


def test_after_five_failures_in_a_row_it_holds_back_for_half_a_minute_then_tries_one() -> None:
    seconds = Seconds()
    breaker = opened(seconds)

    seconds.now += 29.9
    before = breaker.lets_through()
    seconds.now += 0.2
    tries = [breaker.lets_through(), breaker.lets_through()]

    assert not before
    assert tries == [True, False]


def test_a_try_that_succeeds_closes_it_and_one_that_fails_opens_it_for_as_long_again() -> None:
    seconds = Seconds()
    breaker = opened(seconds)

    seconds.now += 31
    breaker.lets_through()
    breaker.failed()
    seconds.now += 29
    after_failure = breaker.lets_through()
    seconds.now += 2
    breaker.lets_through()
    breaker.succeeded()

    assert not after_failure
    assert breaker.lets_through()
    assert breaker.lets_through()
