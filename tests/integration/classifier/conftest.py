"""The classifier as a process of its own, on real Kafka and PostgreSQL."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from deploy.topics import create_topics
from tests.unit.classifier.builders import save_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Running:
    """A classifier that runs."""

    process: subprocess.Popen[bytes]
    address: str
    metrics_address: str
    log: Path


@pytest.fixture(scope="session")
def topics(kafka_bootstrap: str) -> None:
    create_topics({"bootstrap_servers": kafka_bootstrap})


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return save_model(tmp_path / "model").path


@contextmanager
def running(folder: Path, log: Path, environment: Mapping[str, str]) -> Iterator[Running]:
    """Run a classifier with its model in `folder` until the block ends, then stop it in order."""
    address, health, metrics = (_free_address() for _ in range(3))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.classifier"],
            cwd=ROOT,
            stderr=output,
            env={
                **os.environ,
                **environment,
                "PAIDAN_GRPC_ADDRESS": address,
                "PAIDAN_HEALTH_ADDRESS": health,
                "PAIDAN_METRICS_ADDRESS": metrics,
                "PAIDAN_CLASSIFIER_MODEL_DIR": str(folder),
                "PAIDAN_CLASSIFIER_MODEL_INTERVAL": "PT0.2S",
            },
        )
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=30)
        yield Running(process, address, metrics, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
