"""One stack for all system tests: four service processes on a real Kafka and a real PostgreSQL, seen from outside."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.actors import Desk, Portal, Unit
from tests.support.city import open_city

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.city import City


@pytest.fixture(scope="package")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with pytest.MonkeyPatch.context() as environment:
        # What is learnt is waited for by tests alone.
        environment.setenv("PAIDAN_CLASSIFIER_LEARN_LINGER", "PT0.2S")
        with open_city(tmp_path_factory.mktemp("system")) as opened:
            yield opened


@pytest.fixture
def portal(city: City) -> Portal:
    return Portal(city)


@pytest.fixture
def unit(city: City) -> Callable[[str], Unit]:
    return lambda code: Unit(city, code)


@pytest.fixture
def desk(city: City) -> Desk:
    return Desk(city)


@pytest.fixture
def kcat() -> str:
    found = shutil.which("kcat")
    if found is None:
        pytest.skip("kcat is not installed")
    return found
