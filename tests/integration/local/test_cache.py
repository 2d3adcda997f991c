"""The cache of jars: only listed hashes are used, one run fills it, a wrong file is replaced."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.cache import kafka_jars
from deploy.local.errors import CacheMismatchError, LocalPartError, MissingToolError
from deploy.local.fetch import main

FakeMaven = Callable[[str], None]


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("PAIDAN_CACHE_DIR", str(cache))
    return cache


@pytest.fixture
def copied_cache(filled_cache: Path, empty_cache: Path) -> Iterator[Path]:
    shutil.copytree(filled_cache, empty_cache)
    yield empty_cache
    shutil.rmtree(empty_cache)


@pytest.fixture
def fake_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMaven:
    """Put a shell script in Maven's place; ``$OUT`` is the folder that it is asked to fill."""

    def install(script: str) -> None:
        tools = tmp_path / "tools"
        tools.mkdir()
        maven = tools / "mvn"
        maven.write_text(f'#!/bin/sh\nfor a; do case $a in -DoutputDirectory=*) OUT="${{a#*=}}";; esac; done\n{script}\n')
        maven.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")

    return install


@pytest.mark.usefixtures("copied_cache")
def test_a_full_cache_needs_neither_maven_nor_another_look_into_the_jars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("deploy.local.cache._sha256", pytest.fail)
    said: list[str] = []

    jars = kafka_jars(said.append)

    assert said == []
    assert len(jars) == 46
    assert all(jar.stat().st_size > 0 for jar in jars)


@pytest.mark.usefixtures("copied_cache")
def test_a_corrupt_jar_is_noticed_and_replaced() -> None:
    jars = kafka_jars()
    victim, neighbour = jars[0], jars[1]
    whole, untouched = victim.read_bytes(), neighbour.stat()
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    said: list[str] = []

    kafka_jars(said.append)

    assert said[0] == "1 of Kafka's 46 jars are absent or altered: fetching with Maven"
    assert victim.read_bytes() == whole
    assert neighbour.stat().st_size == untouched.st_size
    assert kafka_jars(pytest.fail) == jars


@pytest.mark.usefixtures("copied_cache")
def test_a_file_that_is_not_listed_never_gets_onto_the_class_path() -> None:
    jars = kafka_jars()
    (jars[0].parent / "stranger.jar").write_bytes(b"")

    assert kafka_jars() == jars


def test_jars_that_stay_wrong_are_named(empty_cache: Path, fake_maven: FakeMaven) -> None:
    fake_maven('mkdir "$OUT"; echo spoiled > "$OUT/slf4j-api-1.7.36.jar"')

    with pytest.raises(CacheMismatchError) as caught:
        kafka_jars()

    assert "slf4j-api-1.7.36.jar" in caught.value.files
    assert "\n" not in str(caught.value)
    assert [file.name for file in empty_cache.iterdir()] == [".lock"]


def test_what_maven_says_when_it_fails_is_passed_on(empty_cache: Path, fake_maven: FakeMaven) -> None:
    fake_maven("echo no such host; exit 1")

    with pytest.raises(LocalPartError) as caught:
        kafka_jars()

    assert caught.value.log_tail == "no such host"
    assert [file.name for file in empty_cache.iterdir()] == [".lock"]


def test_two_runs_at_once_fill_the_cache_once(tmp_path: Path, filled_cache: Path, empty_cache: Path, fake_maven: FakeMaven) -> None:
    (source,) = filled_cache.glob("kafka-*")
    fake_maven(f'echo run >> {tmp_path}/runs; mkdir "$OUT"; cp {source}/*.jar "$OUT"')
    got: list[list[Path]] = []
    runs = [threading.Thread(target=lambda: got.append(kafka_jars())) for _ in range(2)]

    for run in runs:
        run.start()
    for run in runs:
        run.join()

    assert len(got) == 2
    assert got[0] == got[1]
    assert (tmp_path / "runs").read_text() == "run\n"
    shutil.rmtree(empty_cache)


@pytest.mark.usefixtures("empty_cache")
def test_an_empty_cache_without_maven_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(MissingToolError) as caught:
        kafka_jars()

    assert str(caught.value) == (
        "kafka: needs Apache Maven (mvn), found none; install both of Kafka's tools, e.g. apt-get install default-jre-headless maven"
    )


@pytest.mark.usefixtures("copied_cache")
def test_a_second_fetch_says_at_once_that_all_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert main() == 0

    assert capsys.readouterr().out.splitlines()[-1].startswith("46 Kafka jars are already in ")
