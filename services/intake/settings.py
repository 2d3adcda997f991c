"""Intake's settings: those of every service, and `PAIDAN_INTAKE_*`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field

from chassis.settings import ServiceSettings


class IntakeSettings(ServiceSettings):
    """Settings of intake."""

    catalogue: Path = Field(
        Path(__file__).resolve().parents[2] / "catalogue",
        validation_alias="PAIDAN_INTAKE_CATALOGUE",
        description="Folder with the catalogue's files; intake reads the districts.",
    )
    consumer_linger: timedelta = Field(
        timedelta(milliseconds=400),
        description="How long the brokers gather messages before they hand them over together; a change is shown that much later.",
    )
    watch_interval: timedelta = Field(
        timedelta(milliseconds=250),
        validation_alias="PAIDAN_INTAKE_WATCH_INTERVAL",
        description="How often changes made by other replicas are looked for.",
    )
    close_interval: timedelta = Field(
        timedelta(minutes=1),
        validation_alias="PAIDAN_INTAKE_CLOSE_INTERVAL",
        description="How often resolved tickets are looked at for closing.",
    )
    submit_group: int = Field(
        64,
        ge=1,
        le=500,
        validation_alias="PAIDAN_INTAKE_SUBMIT_GROUP",
        description="Most submissions in one transaction.",
    )
    submit_pace: timedelta = Field(
        timedelta(milliseconds=40),
        validation_alias="PAIDAN_INTAKE_SUBMIT_PACE",
        description="Least time between two such transactions; a submission that comes alone does not wait for it.",
    )
