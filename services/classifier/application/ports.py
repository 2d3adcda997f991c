"""What the use cases need from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from services.classifier.domain.advice import Advice, AdvicePolicy, Question
    from services.classifier.domain.classification import DistrictCode, ModelRelease, Recognition, RequestClass
    from services.classifier.domain.outcomes import Facts, Label, TicketId


class Recogniser(Protocol):
    """Tells which classes texts belong to. Safe for many threads; never raises for any text."""

    @property
    def release(self) -> ModelRelease:
        """The model that answers."""
        ...

    @property
    def classes(self) -> Sequence[RequestClass]:
        """Classes that the model knows, in the catalogue's order, `other` last."""
        ...

    def recognise(self, texts: Sequence[str]) -> list[Recognition]:
        """Return an answer a text, in their order. Texts must be normalised."""
        ...

    def district(self, text: str) -> DistrictCode | None:
        """Return the district that a normalised text names, or None."""
        ...


class Models(Protocol):
    """Holds the model that answers now; it may be replaced at any time."""

    def current(self) -> Recogniser:
        """Return it.

        Raises:
            NoModelError: None is loaded yet.
        """
        ...


class Adviser(Protocol):
    """A language model that is asked about texts on which the model abstained."""

    @property
    def policy(self) -> AdvicePolicy:
        """Which one it is, and how far it is believed."""
        ...

    def advise(self, questions: Sequence[Question], classes: Sequence[RequestClass]) -> list[Advice | None]:
        """Return its checked answer to each question, in their order, or None where there is none that can be used.

        Returns within a bounded time and never raises, whatever the language model does.
        """
        ...


class ReleaseRepository(Protocol):
    """Remembers which models have served."""

    def add(self, release: ModelRelease, activate_time: datetime) -> None:
        """Remember a model; the first time that it served is kept."""
        ...


class UnitOfWork(Protocol):
    """One transaction, opened and committed by the door."""

    @property
    def releases(self) -> ReleaseRepository:
        """Models that have served."""
        ...


class OutcomeRepository(Protocol):
    """Keeps what became of tickets."""

    def get(self, ticket_id: TicketId) -> Facts:
        """Return what is known of a ticket, to be changed and put; blank if nothing is."""
        ...

    def put(self, ticket_id: TicketId, label: Label | None) -> None:
        """Keep a ticket's facts as they are now, with the label that they give."""
        ...


class LearningUnitOfWork(Protocol):
    """One transaction of learning; the hot path has no part in it."""

    @property
    def outcomes(self) -> OutcomeRepository:
        """What became of tickets."""
        ...
