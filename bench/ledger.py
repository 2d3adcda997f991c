"""The books of a run: every ticket that the system said it had, and every order that reached a unit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.load import Answer
    from bench.observer import Arrival


@dataclass(frozen=True, slots=True)
class Account:
    """What became of all submissions.

    Attributes:
        sent: Submissions.
        accepted: Answered with OK: the system has them.
        refused: Answered with a refusal: the system does not have them, and said so.
        unknown: Never answered for certain.
        arrived: Accepted, and ordered of exactly one lead unit by exactly one message id.
        missing: Accepted, and never arrived.
        twice: Accepted, and ordered more than once in effect.
        repeated: Deliveries of an order that had been delivered before under the same id; units drop these.
        strangers: Orders for tickets that nobody here submitted.
        methods: Method → tickets that went by it.
    """

    sent: int
    accepted: int
    refused: int
    unknown: int
    arrived: int
    missing: int
    twice: int
    repeated: int
    strangers: int
    methods: Mapping[str, int]

    @property
    def holds(self) -> bool:
        """Whether nothing was lost and nothing happened twice."""
        return self.missing == 0 and self.twice == 0 and self.unknown == 0 and self.arrived == self.accepted


class Ledger:
    """Takes both sides down."""

    def __init__(self) -> None:
        self._answers: list[Answer] = []
        self._accepted: set[str] = set()
        self._first: dict[str, Arrival] = {}
        self._orders: dict[str, set[str]] = {}
        self._repeated = 0

    def submitted(self, answers: Iterable[Answer]) -> None:
        """Take submissions down."""
        for answer in answers:
            self._answers.append(answer)
            if answer.accepted:
                self._accepted.add(answer.ticket_id)

    def arrived(self, arrivals: Iterable[Arrival]) -> None:
        """Take arrivals down."""
        for arrival in arrivals:
            orders = self._orders.setdefault(arrival.ticket_id, set())
            self._repeated += arrival.message_id in orders
            orders.add(arrival.message_id)
            self._first.setdefault(arrival.ticket_id, arrival)

    def arrival(self, ticket_id: str) -> Arrival | None:
        """Return the first order for a ticket."""
        return self._first.get(ticket_id)

    @property
    def pending(self) -> int:
        """How many accepted tickets have not arrived."""
        return sum(ticket_id not in self._first for ticket_id in self._accepted)

    def missing(self) -> Sequence[str]:
        """Return the accepted tickets that have not arrived."""
        return sorted(self._accepted - self._first.keys())

    def account(self) -> Account:
        """Add everything up."""
        arrived = [ticket_id for ticket_id in self._accepted if ticket_id in self._first]
        twice = sum(len(self._orders[ticket_id]) > 1 for ticket_id in arrived)
        unknown = sum(answer.unknown for answer in self._answers)
        accepted = sum(answer.accepted for answer in self._answers)
        return Account(
            sent=len(self._answers),
            accepted=accepted,
            refused=len(self._answers) - accepted - unknown,
            unknown=unknown,
            arrived=len(arrived) - twice,
            missing=accepted - len(arrived),
            twice=twice,
            repeated=self._repeated,
            strangers=len(self._first.keys() - self._accepted),
            methods=Counter(self._first[ticket_id].method for ticket_id in arrived),
        )
