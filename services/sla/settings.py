"""The SLA service's settings: those of every service, and `PAIDAN_SLA_*`."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from chassis.settings import SECOND, ServiceSettings
from services.sla.domain.clock import WorkdayClock
from services.sla.domain.promise import DispatchPromise, ResolutionPromise, Rules

if TYPE_CHECKING:
    from services.sla.domain.calendar import WorkdayCalendar

_NOTICES = Path(__file__).parents[2] / "catalogue" / "calendar" / "notices.json"


class SlaSettings(ServiceSettings):
    """Settings of the SLA service."""

    consumer_linger: timedelta = Field(
        timedelta(milliseconds=400), description="How long the brokers gather messages before they hand them over together."
    )
    relay_pace: timedelta = Field(
        timedelta(milliseconds=200),
        description="Least time between two readings of the outbox; a message that comes alone does not wait for it.",
    )
    notices: Path = Field(
        _NOTICES,
        validation_alias="PAIDAN_SLA_NOTICES",
        description="File of the State Council's notices. It is followed: replace it when a new notice is out.",
    )
    notices_interval: timedelta = Field(
        10 * SECOND,
        validation_alias="PAIDAN_SLA_NOTICES_INTERVAL",
        description="How often that file is looked at.",
    )
    workdays: int = Field(3, ge=1, le=250, validation_alias="PAIDAN_SLA_WORKDAYS", description="Whole workdays allowed for a resolution.")
    close_of_business: time | None = Field(
        None,
        validation_alias="PAIDAN_SLA_CLOSE_OF_BUSINESS",
        description="Local time at which a workday ends, e.g. `18:00`; what comes later, or on a day off, is received the next workday. "
        "Unset: 24:00, and everything is received at once.",
    )
    resolution_at_risk_at: time = Field(
        time(9),
        validation_alias="PAIDAN_SLA_RESOLUTION_AT_RISK_AT",
        description="Local time on the last workday from which a resolution is at risk.",
    )
    dispatch_within: timedelta = Field(
        60 * SECOND, validation_alias="PAIDAN_SLA_DISPATCH_WITHIN", description="Time allowed for a dispatch."
    )
    dispatch_at_risk_after: timedelta = Field(
        45 * SECOND,
        validation_alias="PAIDAN_SLA_DISPATCH_AT_RISK_AFTER",
        description="Time after which a dispatch is at risk.",
    )
    dispatch_grace: timedelta = Field(
        5 * SECOND,
        ge=timedelta(0),
        validation_alias="PAIDAN_SLA_DISPATCH_GRACE",
        description="How long after the due time a dispatch that was in time may still become known before the breach is announced.",
    )
    resolution_grace: timedelta = Field(
        60 * SECOND,
        ge=timedelta(0),
        validation_alias="PAIDAN_SLA_RESOLUTION_GRACE",
        description="The same for a resolution.",
    )
    recovery_grace: timedelta = Field(
        20 * SECOND,
        ge=timedelta(0),
        validation_alias="PAIDAN_SLA_RECOVERY_GRACE",
        description="How long others may take, after the start or after the brokers were out of reach, to send what they kept back; "
        "nothing is announced as at risk or breached before.",
    )
    tick_interval: timedelta = Field(SECOND, validation_alias="PAIDAN_SLA_TICK_INTERVAL", description="How often due times are looked at.")
    tick_batch: int = Field(
        500, ge=1, le=5000, validation_alias="PAIDAN_SLA_TICK_BATCH", description="Most tickets judged in one transaction."
    )
    tally_interval: timedelta = Field(
        5 * SECOND,
        validation_alias="PAIDAN_SLA_TALLY_INTERVAL",
        description="How often the gauges of open deadlines are read.",
    )

    @model_validator(mode="after")
    def _at_risk_comes_before_due(self) -> Self:
        if not timedelta(0) < self.dispatch_at_risk_after < self.dispatch_within:
            message = "PAIDAN_SLA_DISPATCH_AT_RISK_AFTER must be less than PAIDAN_SLA_DISPATCH_WITHIN, and both more than 0"
            raise ValueError(message)
        if self.close_of_business is not None and self.resolution_at_risk_at >= self.close_of_business:
            message = "PAIDAN_SLA_RESOLUTION_AT_RISK_AT must be before PAIDAN_SLA_CLOSE_OF_BUSINESS"
            raise ValueError(message)
        return self

    def rules(self, calendar: WorkdayCalendar) -> Rules:
        """Return the rules that these settings make of a calendar."""
        return Rules(
            dispatch=DispatchPromise(within=self.dispatch_within, at_risk_after=self.dispatch_at_risk_after, grace=self.dispatch_grace),
            resolution=ResolutionPromise(
                clock=WorkdayClock(calendar=calendar, close_of_business=self.close_of_business),
                at_risk_at=self.resolution_at_risk_at,
                workdays=self.workdays,
                grace=self.resolution_grace,
            ),
        )
