"""The words that the dispatcher's domain is written in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta, timezone
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from datetime import date, datetime

TicketId = NewType("TicketId", str)
UnitCode = NewType("UnitCode", str)
ClassCode = NewType("ClassCode", str)
DistrictCode = NewType("DistrictCode", str)
DecisionId = NewType("DecisionId", str)

DUTY_DESK = UnitCode("dutydesk")
"""The municipal duty desk (值班席): holds what nobody decided in time, and is the arbiter of bounced tickets."""

OTHER = ClassCode("other")
"""The classifier's label for what belongs to none of the catalogue's classes."""

MINUTE = timedelta(minutes=1)
"""What is promised from a submission to the push."""

# China has had no daylight saving time since 1991, so that a fixed offset is Asia/Shanghai for every ticket that there can be.
BEIJING = timezone(timedelta(hours=8), "Asia/Shanghai")


def civil_day(instant: datetime) -> date:
    """Return the day of an instant by the clocks of Chongqing; catalogue entries are valid by days."""
    return instant.astimezone(BEIJING).date()


class State(StrEnum):
    """Where a dispatch stands."""

    UNSUBMITTED = "UNSUBMITTED"
    """Something was heard of the ticket, but not its submission; what was heard waits."""
    PENDING = "PENDING"
    AWAITING_TRIAGE = "AWAITING_TRIAGE"
    DISPATCHED = "DISPATCHED"
    ACCEPTED = "ACCEPTED"
    AWAITING_SUPPLEMENT = "AWAITING_SUPPLEMENT"
    RESOLVED = "RESOLVED"
    WITHDRAWN = "WITHDRAWN"
    DECLINED = "DECLINED"


IN_HAND = frozenset({State.DISPATCHED, State.ACCEPTED, State.AWAITING_SUPPLEMENT})
"""States in which a lead unit works on the ticket."""


class Method(StrEnum):
    """Who or what chose the unit."""

    AUTO = "AUTO"
    RULES = "RULES"
    TRIAGE = "TRIAGE"
    FALLBACK = "FALLBACK"
    SUGGESTION = "SUGGESTION"
    TRANSFER = "TRANSFER"
    REOPEN = "REOPEN"


class ReturnReason(StrEnum):
    """Why a unit sends a ticket back (退回)."""

    NOT_OUR_COMPETENCE = "NOT_OUR_COMPETENCE"
    WRONG_DISTRICT = "WRONG_DISTRICT"
    DUPLICATE = "DUPLICATE"
    INSUFFICIENT_INFORMATION = "INSUFFICIENT_INFORMATION"
    NOT_A_CITY_MATTER = "NOT_A_CITY_MATTER"


class TriageReason(StrEnum):
    """Why a ticket lies with the desk (人工分拨)."""

    UNSURE = "UNSURE"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    NO_CLASSIFICATION = "NO_CLASSIFICATION"
    RETURNED = "RETURNED"
    BOUNCED = "BOUNCED"
    NOT_IN_CATALOGUE = "NOT_IN_CATALOGUE"


class DistrictSource(StrEnum):
    """Where the district that was used came from."""

    REQUEST = "request"
    TEXT = "text"
    ENTERPRISE = "enterprise"
    RETURN = "return"
    DESK = "desk"
    NONE = "none"


class AbstainReason(StrEnum):
    """Why the classifier gave no answer of its own."""

    UNSURE = "UNSURE"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    TOO_LITTLE = "TOO_LITTLE"


class CancelReason(StrEnum):
    """Why a ticket is no longer a unit's."""

    WITHDRAWN = "WITHDRAWN"
    TRANSFERRED = "TRANSFERRED"
    RETURNED = "RETURNED"
    DECLINED = "DECLINED"


class DeadlineChange(StrEnum):
    """What the SLA service says of the resolution's due time."""

    SET = "SET"
    PAUSED = "PAUSED"
    RESUMED = "RESUMED"
    EXTENDED = "EXTENDED"
    AT_RISK = "AT_RISK"
    BREACHED = "BREACHED"
    MET = "MET"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What intake said of a ticket when it was submitted; it never changes.

    Attributes:
        ticket_id: Its id.
        number: Its number for people.
        uscc: Unified social credit code of the enterprise.
        enterprise_name: Registered name of the enterprise.
        request_district: District that the request names; empty if none.
        enterprise_district: District where the enterprise is registered; empty if not known.
        text: The request in the enterprise's words.
        confidential: True if only the lead unit may learn whose request it is, and that from intake.
        submit_time: Start of the minute.
    """

    ticket_id: TicketId
    number: str
    uscc: str
    enterprise_name: str
    request_district: str
    enterprise_district: str
    text: str
    confidential: bool
    submit_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassProbability:
    """A class with its calibrated probability, 0–1."""

    class_code: ClassCode
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The classifier's answer about a ticket.

    Attributes:
        ranked: Classes, best first.
        abstain_reason: Why the model would rather have a person decide; None if it did not abstain.
        model_version: Version of the model that answered.
    """

    ranked: tuple[ClassProbability, ...]
    abstain_reason: AbstainReason | None
    model_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A unit considered for the lead.

    Attributes:
        unit: Its code.
        class_code: The class that speaks most for it.
        class_probability: Probability of that class, 0–1.
        relevance: Σ P(class | text) · P(the unit keeps it | class, district), 0–1.
    """

    unit: UnitCode
    class_code: ClassCode
    class_probability: float
    relevance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DistrictUsed:
    """The district that a decision was made with.

    Attributes:
        code: A district in force on the ticket's day, or None.
        source: Where it came from.
        unknown: The code that the request names though no catalogue knows it; empty if there is no such trouble.
    """

    code: DistrictCode | None
    source: DistrictSource
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen and why: a lead, or the reason why a person has to choose.

    Attributes:
        lead: The unit that is to lead; None if the desk decides.
        triage_reason: Why the desk decides; None if there is a lead.
        co_handlers: Units that help.
        class_code: Class that decided; None if none did.
        class_probability: Its probability, 0–1; 0 if none decided.
        district: District used.
        candidates: Units considered, best first.
        rules_hit: Identifiers of the keyword rules that hit.
        model_version: Version of the model; empty without classification.
        explanation: One sentence in Chinese for people.
    """

    lead: UnitCode | None
    triage_reason: TriageReason | None = None
    co_handlers: tuple[UnitCode, ...] = ()
    class_code: ClassCode | None = None
    class_probability: float = 0.0
    district: DistrictUsed
    candidates: tuple[Candidate, ...] = ()
    rules_hit: tuple[str, ...] = ()
    model_version: str = ""
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """A decision with everything that is needed to replay it. Attributes not named here are those of `Choice`.

    Attributes:
        epoch: Assignment that it led to; that of the assignment before where it led to the desk.
        method: Who or what chose; None where it led to the desk.
        threshold: Relevance that the best unit had to reach.
        catalogue_version: Hash of the catalogue's files.
        decide_time: When it was decided.
        decided_by: The desk or unit whose word it was; empty if the machine's.
    """

    decision_id: DecisionId
    ticket_id: TicketId
    epoch: int
    method: Method | None
    choice: Choice
    threshold: float
    catalogue_version: str
    decide_time: datetime
    decided_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A ticket in the hands of a lead unit.

    Attributes:
        epoch: Number of the assignment, from 1.
        lead: Code of the unit that leads.
        co_handlers: Codes of the units that help.
        class_code: Class that decided; None if none.
        class_probability: Its probability, 0–1.
        district: District used.
        method: Who or what chose the unit.
        dispatch_time: When it was decided.
        decision_id: The decision's record.
        explanation: One sentence in Chinese for people.
        note: Words of the unit or desk that sent it on.
    """

    epoch: int
    lead: UnitCode
    co_handlers: tuple[UnitCode, ...]
    class_code: ClassCode | None
    class_probability: float
    district: DistrictUsed
    method: Method
    dispatch_time: datetime
    decision_id: DecisionId
    explanation: str
    note: str = ""

    @property
    def participants(self) -> tuple[UnitCode, ...]:
        """The lead and the co-handlers."""
        return (self.lead, *self.co_handlers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Triage:
    """A ticket that waits for a person at the desk.

    Attributes:
        reason: Why.
        candidates: Best guesses, best first.
        district: District used for the guesses.
        since: When it came to the desk.
        fallback_time: When it goes, or went, to the duty desk by itself.
        return_note: Why a unit returned it; empty if none did.
    """

    reason: TriageReason
    candidates: tuple[Candidate, ...]
    district: DistrictUsed
    since: datetime
    fallback_time: datetime
    return_note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A unit's wish for more time (延期)."""

    workdays: int
    reason: str
    request_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplement:
    """Material that the enterprise added."""

    text: str
    attachment_refs: tuple[str, ...]
    supplement_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepCount:
    """How often a unit kept and how often it sent back tickets of a class."""

    kept: int = 0
    returned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepEvidence:
    """What one effective receipt adds to `KeepCount`; -1 takes back what an earlier one had added."""

    unit: UnitCode
    class_code: ClassCode
    kept: int = 0
    returned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Settings of the decisions.

    Attributes:
        threshold: Relevance that the best unit must reach to be chosen without a person, 0–1.
        rules_after: Time from submission after which a ticket without classification goes by the keyword rules.
        fallback_after: Time from submission, or from a return, after which what waits for the desk goes to the duty desk.
        catch_up_grace: Least time that a classification is waited for after a ticket was read late, as after an outage, while its minute
            can be kept.
        bounce_budget: Number of returns that sends a ticket to the arbiter.
    """

    threshold: float = 0.5
    rules_after: timedelta = timedelta(seconds=15)
    fallback_after: timedelta = timedelta(seconds=40)
    catch_up_grace: timedelta = timedelta(seconds=2)
    bounce_budget: int = 3

    def grace(self, *, late: timedelta) -> timedelta:
        """Return how long to wait for the classification of a ticket that is read `late` after its submission.

        Past its minute a ticket has no more to gain by haste: in a backlog, which the classifier has to work off too, it gets as long as a
        new one, and goes to the right unit instead of to the one that keywords suggest.
        """
        return self.rules_after if late >= MINUTE else self.catch_up_grace
