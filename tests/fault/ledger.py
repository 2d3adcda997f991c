"""What the load client and the unit stubs did and saw, kept outside the system: the other side of every account."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum


class Plan(StrEnum):
    """What the units are to do with a ticket."""

    USUAL = "usual"
    """Sign for it, tell twice how far it is, resolve it."""
    RETURN = "return"
    """The first unit names another, which does the usual."""
    LATE = "late"
    """The first unit acts only after the ticket was taken from it; nobody else acts."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A request that the load client sends until it is answered."""

    request_id: str
    text: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of SubmitTicket.

    Attributes:
        request_id: Id of the request.
        time: When the call ended, in seconds since 1970.
        code: gRPC's name of the status.
        details: Message of the status.
        seconds: Duration of the call; 0 if it was not measured.
        retry_after: What `RetryInfo` of the status asks for, in seconds; None without `RetryInfo`.
    """

    request_id: str
    time: float
    code: str
    details: str
    seconds: float = 0.0
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a unit sent and the brokers acknowledged. `note` holds its words; `stale` if it is about an assignment that ended."""

    receipt_id: str
    unit: str
    ticket_id: str
    epoch: int
    action: str
    note: str
    stale: bool = False


class Ledger:
    """One run's account. Safe for several threads."""

    def __init__(self, portal: str) -> None:
        self.portal = portal
        self._lock = threading.Lock()
        self._submissions: dict[str, Submission] = {}
        self._begun: dict[str, float] = {}
        self._by_text: dict[str, Submission] = {}
        self._acknowledged: defaultdict[str, set[str]] = defaultdict(set)
        self._attempts: list[Attempt] = []
        self._receipts: list[Receipt] = []

    def sending(self, submission: Submission) -> None:
        """Note a request before it is first sent."""
        with self._lock:
            self._submissions[submission.request_id] = submission
            self._begun[submission.request_id] = time.time()
            self._by_text[submission.text] = submission

    def attempted(self, request_id: str, code: str, details: str = "", *, seconds: float = 0.0, retry_after: float | None = None) -> None:
        """Note how a call ended."""
        with self._lock:
            self._attempts.append(Attempt(request_id, time.time(), code, details, seconds, retry_after))

    def acknowledged_as(self, request_id: str, ticket_id: str) -> None:
        """Note that the system promised to keep a request, as a ticket of this id."""
        with self._lock:
            self._acknowledged[request_id].add(ticket_id)

    def sent(self, receipt: Receipt) -> None:
        """Note a receipt that the brokers acknowledged."""
        with self._lock:
            self._receipts.append(receipt)

    def plan_of(self, text: str) -> Plan | None:
        """Return what the units are to do with the ticket of this text; None if it is not of this run."""
        with self._lock:
            submission = self._by_text.get(text)
        return None if submission is None else submission.plan

    @property
    def submissions(self) -> dict[str, Submission]:
        """Request id → request."""
        with self._lock:
            return dict(self._submissions)

    @property
    def begun(self) -> dict[str, float]:
        """Request id → when it was first sent, in seconds since 1970."""
        with self._lock:
            return dict(self._begun)

    @property
    def acknowledged(self) -> dict[str, set[str]]:
        """Request id → ids of tickets that the system named for it."""
        with self._lock:
            return {request_id: set(ids) for request_id, ids in self._acknowledged.items()}

    @property
    def attempts(self) -> list[Attempt]:
        """Calls of SubmitTicket, in the order of their ends."""
        with self._lock:
            return list(self._attempts)

    @property
    def receipts(self) -> list[Receipt]:
        """Receipts, in the order of their sending."""
        with self._lock:
            return list(self._receipts)

    @property
    def unanswered(self) -> list[str]:
        """Request ids that were never acknowledged."""
        with self._lock:
            return [request_id for request_id in self._submissions if request_id not in self._acknowledged]
