"""Metrics of the classifier; each is declared here, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from services.classifier.domain.classification import AbstainReason
from services.classifier.domain.outcomes import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import CollectorRegistry

    from services.classifier.domain.classification import Classification, ModelRelease

_SECONDS = (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.05, 0.1, 0.5, 1)
_ADVICE_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 7.5, 10)
_PROBABILITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


class ClassifierMetrics:
    """What the classifier counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._classified = Counter(
            "paidan_classifier_classified",
            "Texts classified, by the first class.",
            ["class_code"],
            registry=registry,
        )
        self._abstained = Counter(
            "paidan_classifier_abstained",
            "Texts for which the model would rather have a person decide, by reason: `unsure`, `out_of_scope` or `too_little`.",
            ["reason"],
            registry=registry,
        )
        self._first_probability = Histogram(
            "paidan_classifier_first_probability",
            "Probability of the first class, 0–1; its drift tells that texts have changed.",
            buckets=_PROBABILITIES,
            registry=registry,
        )
        self._seconds = Histogram(
            "paidan_classifier_text_seconds",
            "Time taken for a text, the mean of its batch, in seconds.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._model = Gauge(
            "paidan_classifier_model_trained_timestamp_seconds",
            "When the model that answers was trained, in Unix seconds; its version is the label.",
            ["version"],
            registry=registry,
        )
        self._characters = Counter(
            "paidan_classifier_characters",
            "Letters and digits of texts classified.",
            registry=registry,
        )
        self._unknown_characters = Counter(
            "paidan_classifier_unknown_characters",
            "Those of them that are no part of anything that the model knows; a rising share tells that the city speaks of something new.",
            registry=registry,
        )
        self._sent = Counter(
            "paidan_classifier_sent",
            "Tickets that went to a unit by the model's answer, by the class that decided.",
            ["class_code"],
            registry=registry,
        )
        self._refused = Counter(
            "paidan_classifier_refused",
            "Those of them that the unit sent back as not its competence, by the class that had decided.",
            ["class_code"],
            registry=registry,
        )
        self._labels = Counter(
            "paidan_classifier_labels",
            "Labels that outcomes gave, by what they rest on; one that comes to rest on something else is counted again.",
            ["source"],
            registry=registry,
        )
        self._learning = Gauge(
            "paidan_classifier_learning",
            "1 while outcomes are taken in; 0 if that failed, which stops nothing else.",
            registry=registry,
        )
        self._shadow = Counter(
            "paidan_classifier_shadow",
            "Tickets that the model in the shadow `agreed` or `disagreed` about with the one that answers, or `skipped`.",
            ["outcome"],
            registry=registry,
        )

        self._advised = Counter(
            "paidan_classifier_advised",
            "Answers that take up a language model's advice, by effect: `answered`, or `guess` where a person still decides.",
            ["effect"],
            registry=registry,
        )
        self.llm_questions = Counter(
            "paidan_classifier_llm_questions",
            "Questions for the language model, by outcome: `answered`, `refused` (its answer failed the checks), `late` and `breaker_open` "
            "(not asked), `timed_out`, `unreachable`, `throttled`, `http_error`, `redirected`, `too_large`, `malformed`.",
            ["outcome"],
            registry=registry,
        )
        self.llm_seconds = Histogram(
            "paidan_classifier_llm_seconds",
            "Time from a question to the language model's answer, or to the end of waiting for it, in seconds.",
            buckets=_ADVICE_SECONDS,
            registry=registry,
        )
        self.llm_tokens = Counter(
            "paidan_classifier_llm_tokens",
            "Tokens that the endpoint says it counted, by kind: `prompt` or `completion`; what is paid for.",
            ["kind"],
            registry=registry,
        )
        self.llm_breaker_open = Gauge(
            "paidan_classifier_llm_breaker_open",
            "1 while the language model is not asked because it failed again and again.",
            registry=registry,
        )
        # What has not happened yet is told as 0: a query that divides by it, or sums it, has an answer.
        for counter, kinds in ((self._abstained, AbstainReason), (self._labels, Source)):
            for kind in kinds:
                counter.labels(kind.value)

    def count(self, classifications: Sequence[Classification], seconds: float) -> None:
        """Count answers that took `seconds` together."""
        for each in classifications:
            self._count(each)
            self._seconds.observe(seconds / len(classifications))

    def count_advised(self, classifications: Sequence[Classification]) -> None:
        """Count answers for which a language model was asked, or would have been; their time is counted apart."""
        for each in classifications:
            self._count(each)
            if each.adviser:
                self._advised.labels("guess" if each.abstained else "answered").inc()

    def _count(self, classification: Classification) -> None:
        self._classified.labels(classification.classes[0].code).inc()
        self._first_probability.observe(classification.classes[0].probability)
        self._characters.inc(classification.characters)
        self._unknown_characters.inc(classification.unknown_characters)
        if classification.abstain_reason is not None:
            self._abstained.labels(classification.abstain_reason.value).inc()

    def serve(self, release: ModelRelease) -> None:
        """Tell which model answers."""
        self._model.clear()
        self._model.labels(release.version).set(release.train_time.timestamp())

    def count_outcome(self, *, sent: Sequence[str], refused: Sequence[str], source: str | None) -> None:
        """Count what became known of a ticket: classes by which it was sent and refused, and what its label rests on if that is new."""
        for code in sent:
            self._sent.labels(code).inc()
        for code in refused:
            self._refused.labels(code).inc()
        if source is not None:
            self._labels.labels(source).inc()

    def learns(self, *, going: bool) -> None:
        """Tell whether outcomes are taken in."""
        self._learning.set(going)

    def count_shadow(self, outcome: str, tickets: int) -> None:
        """Count tickets that the model in the shadow looked at, or did not."""
        self._shadow.labels(outcome).inc(tickets)
