"""Keyword rules: the second rung of the fallback ladder, for tickets that the classifier did not answer in time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.dispatcher.domain.phrases import normalise
from services.dispatcher.domain.values import ClassProbability

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.dispatcher.domain.values import ClassCode

LEAST_WEIGHT = 3.0
"""A class needs this much weight; less is a hint that any text may hold."""

CLEAR_SHARE = 0.6
"""A class leads clearly with this share of all weights that hit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Words of a competence.

    Attributes:
        rule_id: Its name in decision records.
        class_code: The class that it speaks for.
        weight: How strongly, above 0.
        all_of: Groups of words; a text must hold a word of each group.
        none_of: Words that the text must not hold.
    """

    rule_id: str
    class_code: ClassCode
    weight: float
    all_of: tuple[tuple[str, ...], ...]
    none_of: tuple[str, ...] = ()

    def hits(self, normalised: str) -> bool:
        """Tell whether the rule speaks for its class in a normalised text; the words must be normalised too."""
        return all(any(word in normalised for word in group) for group in self.all_of) and not any(
            word in normalised for word in self.none_of
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesVerdict:
    """What the rules say of a text.

    Attributes:
        ranked: Classes that any rule speaks for, with their share of the weights, best first.
        hit: Identifiers of the rules that hit.
        clear: True if the first class leads clearly.
    """

    ranked: tuple[ClassProbability, ...]
    hit: tuple[str, ...]
    clear: bool


class KeywordRules:
    """All the rules together."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = [
            Rule(
                rule_id=rule.rule_id,
                class_code=rule.class_code,
                weight=rule.weight,
                all_of=tuple(_normalised(group) for group in rule.all_of),
                none_of=_normalised(rule.none_of),
            )
            for rule in rules
        ]

    def judge(self, text: str) -> RulesVerdict:
        """Weigh the rules that hit a text, as the enterprise wrote it."""
        normalised = normalise(text)
        hit = [rule for rule in self._rules if rule.hits(normalised)]
        weights: defaultdict[ClassCode, float] = defaultdict(float)
        for rule in hit:
            weights[rule.class_code] += rule.weight
        ranked = sorted(weights.items(), key=lambda entry: (-entry[1], entry[0]))
        total = sum(weights.values())
        return RulesVerdict(
            ranked=tuple(ClassProbability(class_code=code, probability=weight / total) for code, weight in ranked),
            hit=tuple(rule.rule_id for rule in hit),
            clear=bool(ranked) and ranked[0][1] >= LEAST_WEIGHT and ranked[0][1] / total >= CLEAR_SHARE,
        )


def _normalised(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(normalise(word) for word in words)
