"""The dispatcher's settings: those of every service, and `PAIDAN_DISPATCHER_*`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from chassis.settings import SECOND, ServiceSettings
from services.dispatcher.domain.values import MINUTE, Policy


class DispatcherSettings(ServiceSettings):
    """Settings of the dispatcher."""

    catalogue: Path = Field(
        Path(__file__).resolve().parents[2] / "catalogue",
        validation_alias="PAIDAN_DISPATCHER_CATALOGUE",
        description="Folder with the catalogue's files.",
    )
    threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        validation_alias="PAIDAN_DISPATCHER_THRESHOLD",
        description="Relevance that the best unit must reach to be chosen without a person, 0–1.",
    )
    bounce_budget: int = Field(
        3,
        ge=1,
        le=10,
        validation_alias="PAIDAN_DISPATCHER_BOUNCE_BUDGET",
        description="Number of returns that sends a ticket to the arbiter.",
    )
    rules_after: timedelta = Field(
        15 * SECOND,
        validation_alias="PAIDAN_DISPATCHER_RULES_AFTER",
        description="Time from submission after which a ticket without classification goes by the keyword rules.",
    )
    fallback_after: timedelta = Field(
        40 * SECOND,
        validation_alias="PAIDAN_DISPATCHER_FALLBACK_AFTER",
        description="Time from submission or return after which what waits for the desk goes to the duty desk; well inside the minute.",
    )
    catch_up_grace: timedelta = Field(
        2 * SECOND,
        validation_alias="PAIDAN_DISPATCHER_CATCH_UP_GRACE",
        description="Least time that a classification is waited for after a ticket was read late, as after an outage, "
        "while its minute can be kept.",
    )
    guard_interval: timedelta = Field(
        SECOND / 2,
        validation_alias="PAIDAN_DISPATCHER_GUARD_INTERVAL",
        description="How often the guard of the minute looks for tickets whose time is over.",
    )
    guard_batch: int = Field(
        200,
        ge=1,
        le=5000,
        validation_alias="PAIDAN_DISPATCHER_GUARD_BATCH",
        description="Most tickets that the guard acts on in one transaction.",
    )
    experience_lifetime: timedelta = Field(
        10 * SECOND,
        validation_alias="PAIDAN_DISPATCHER_EXPERIENCE_LIFETIME",
        description="How old the counts of kept and returned tickets may be that decisions are made with.",
    )

    @model_validator(mode="after")
    def _ladder_fits_the_minute(self) -> Self:
        if not timedelta(0) < self.rules_after < self.fallback_after <= MINUTE - 5 * SECOND:
            message = (
                "PAIDAN_DISPATCHER_RULES_AFTER must come before PAIDAN_DISPATCHER_FALLBACK_AFTER, and that 5 s before the minute is over"
            )
            raise ValueError(message)
        return self

    def policy(self) -> Policy:
        """Return the settings of the decisions."""
        return Policy(
            threshold=self.threshold,
            rules_after=self.rules_after,
            fallback_after=self.fallback_after,
            catch_up_grace=self.catch_up_grace,
            bounce_budget=self.bounce_budget,
        )
