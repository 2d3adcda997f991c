"""Choosing the unit that leads.

    relevance(u) = Σ_class P(class | text) · P(u keeps it | class, district)

The first factor is the classifier's, or the keyword rules' share of weight. The second is the mean of a Beta distribution whose prior
comes from the catalogue (who is named for the class, at which level) and which what units accept and return moves.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.dispatcher.domain import wording
from services.dispatcher.domain.catalogue import Level
from services.dispatcher.domain.phrases import normalise
from services.dispatcher.domain.rules import KeywordRules
from services.dispatcher.domain.values import (
    OTHER,
    AbstainReason,
    Candidate,
    Choice,
    DistrictCode,
    DistrictSource,
    DistrictUsed,
    KeepCount,
    TriageReason,
    UnitCode,
    civil_day,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from services.dispatcher.domain.catalogue import Catalogue, RequestClass
    from services.dispatcher.domain.values import ClassCode, Classification, ClassProbability, Policy, Ticket

_MOST_CANDIDATES = 5
_NONE_YET = KeepCount()


@dataclass(frozen=True, slots=True)
class _Prior:
    """A Beta prior: as if that many tickets had been kept and returned already."""

    kept: float
    returned: float

    def mean_after(self, count: KeepCount) -> float:
        """Return P(the unit keeps a ticket) after what was counted."""
        kept = self.kept + count.kept
        return kept / (kept + self.returned + count.returned)


# The strengths are those of 20 and of 10 tickets: a unit that sends back its first few is still asked, one that sends back dozens is not.
_LEADS = _Prior(19, 1)
_HAS_THE_LINE = _Prior(3, 7)
_HELPS = _Prior(1, 9)


class Chooser:
    """Chooses by catalogue, probabilities and experience. Immutable; safe for many threads."""

    def __init__(self, catalogue: Catalogue, policy: Policy) -> None:
        self.catalogue = catalogue
        self.policy = policy
        self._rules = KeywordRules(catalogue.rules)

    def by_classification(
        self,
        ticket: Ticket,
        classification: Classification,
        counts: Mapping[tuple[UnitCode, ClassCode], KeepCount],
    ) -> Choice:
        """Choose by the classifier's answer."""
        district = self.district_of(ticket)
        day = civil_day(ticket.submit_time)
        candidates = self._candidates(classification.ranked, district.code, day, counts)
        reason = self._doubt(classification, candidates, district)
        if reason is not None:
            best = candidates[0].relevance if candidates else None
            return Choice(
                lead=None,
                triage_reason=reason,
                district=district,
                candidates=candidates,
                model_version=classification.model_version,
                explanation=wording.undecided(reason, best, self.policy.threshold),
            )
        best_unit = candidates[0]
        entry = self.catalogue.classes[best_unit.class_code]
        return Choice(
            lead=best_unit.unit,
            co_handlers=self._co_handlers(entry, best_unit.unit, district.code, day),
            class_code=entry.code,
            class_probability=best_unit.class_probability,
            district=district,
            candidates=candidates,
            model_version=classification.model_version,
            explanation=wording.chosen(self.catalogue, entry, best_unit.class_probability, best_unit.unit, district),
        )

    def by_rules(self, ticket: Ticket, counts: Mapping[tuple[UnitCode, ClassCode], KeepCount]) -> Choice:
        """Choose by the keyword rules; they decide only when one class clearly leads."""
        district = self.district_of(ticket)
        day = civil_day(ticket.submit_time)
        verdict = self._rules.judge(ticket.text)
        candidates = self._candidates(verdict.ranked, district.code, day, counts)
        first = self.catalogue.classes[verdict.ranked[0].class_code] if verdict.clear else None
        if first is None or self._district_is_in_doubt(first, district):
            return Choice(
                lead=None,
                triage_reason=TriageReason.NO_CLASSIFICATION,
                district=district,
                candidates=candidates,
                rules_hit=verdict.hit,
                explanation=wording.undecided(TriageReason.NO_CLASSIFICATION, None, self.policy.threshold),
            )
        lead = self._designated(first, district.code)
        return Choice(
            lead=lead,
            co_handlers=self._co_handlers(first, lead, district.code, day),
            class_code=first.code,
            class_probability=verdict.ranked[0].probability,
            district=district,
            candidates=candidates,
            rules_hit=verdict.hit,
            explanation=wording.chosen_by_rules(self.catalogue, first, lead, district),
        )

    def redirect(
        self,
        lead: UnitCode,
        *,
        day: date,
        class_code: ClassCode | None,
        class_probability: float,
        district: DistrictUsed,
        source: DistrictSource,
        explanation: str,
        candidates: tuple[Candidate, ...] = (),
        co_handlers: tuple[UnitCode, ...] | None = None,
    ) -> Choice:
        """Describe that people chose `lead`. A district's team brings its district with it.

        Args:
            lead: The unit, in force.
            day: The day of the decision.
            class_code: Class known so far.
            class_probability: Its probability.
            district: District known so far.
            source: Where the district comes from if `lead` is a district's team.
            explanation: Sentence for people.
            candidates: What had been guessed before.
            co_handlers: Units that help; if None those of the catalogue, provided that it knows `lead` as competent for the class.
        """
        own_district = DistrictCode(lead)
        if own_district in self.catalogue.districts and district.code != own_district:
            district = DistrictUsed(code=own_district, source=source)
        entry = self.catalogue.classes.get(class_code) if class_code else None
        if co_handlers is None:
            co_handlers = self._co_handlers(entry, lead, district.code, day) if entry and self._is_competent(entry, lead) else ()
        return Choice(
            lead=lead,
            co_handlers=co_handlers,
            class_code=class_code,
            class_probability=class_probability,
            district=district,
            candidates=candidates,
            explanation=explanation,
        )

    def unit_meant(self, code: str, day: date) -> UnitCode | None:
        """Return the unit in force that a unit's suggestion means; an abolished district means its successor."""
        unit = self.catalogue.unit(code, day)
        if unit is not None:
            return unit.code
        successor = self.catalogue.resolve_district(code, day)
        return UnitCode(successor) if successor else None

    def district_of(self, ticket: Ticket) -> DistrictUsed:
        """Return the district of a ticket: the one that the request names, else the one in its text, else the enterprise's."""
        day = civil_day(ticket.submit_time)
        text = normalise(ticket.text)
        if ticket.request_district:
            code = self.catalogue.resolve_district(ticket.request_district, day, text)
            if code is None:
                return DistrictUsed(code=None, source=DistrictSource.NONE, unknown=ticket.request_district)
            return DistrictUsed(code=code, source=DistrictSource.REQUEST)
        named = self.catalogue.district_named_in(text, day)
        if named is not None:
            return DistrictUsed(code=named, source=DistrictSource.TEXT)
        registered = self.catalogue.resolve_district(ticket.enterprise_district, day, text)
        if registered is not None:
            return DistrictUsed(code=registered, source=DistrictSource.ENTERPRISE)
        return DistrictUsed(code=None, source=DistrictSource.NONE)

    def _doubt(self, classification: Classification, candidates: Sequence[Candidate], district: DistrictUsed) -> TriageReason | None:
        if classification.abstain_reason is AbstainReason.OUT_OF_SCOPE:
            return TriageReason.OUT_OF_SCOPE
        if classification.abstain_reason is not None or not classification.ranked:
            return TriageReason.UNSURE
        first = classification.ranked[0].class_code
        if first == OTHER:
            return TriageReason.OUT_OF_SCOPE
        if not candidates or candidates[0].relevance < self.policy.threshold:
            return TriageReason.UNSURE if first in self.catalogue.classes else TriageReason.NOT_IN_CATALOGUE
        if self._district_is_in_doubt(self.catalogue.classes[candidates[0].class_code], district):
            return TriageReason.NOT_IN_CATALOGUE
        return None

    @staticmethod
    def _district_is_in_doubt(entry: RequestClass, district: DistrictUsed) -> bool:
        """A request that names an unknown district goes to a person, unless no district has a part in it."""
        return bool(district.unknown) and entry.level is not Level.MUNICIPAL

    def _candidates(
        self,
        ranked: Sequence[ClassProbability],
        district: DistrictCode | None,
        day: date,
        counts: Mapping[tuple[UnitCode, ClassCode], KeepCount],
    ) -> tuple[Candidate, ...]:
        contributions: defaultdict[UnitCode, list[tuple[float, ClassProbability]]] = defaultdict(list)
        for each in ranked:
            entry = self.catalogue.classes.get(each.class_code)
            if entry is not None:
                for unit, prior in self._competent(entry, district, day):
                    keeps = prior.mean_after(counts.get((unit, entry.code), _NONE_YET))
                    contributions[unit].append((each.probability * keeps, each))
        candidates = (
            Candidate(
                unit=unit,
                class_code=max(parts, key=lambda part: part[0])[1].class_code,
                class_probability=max(parts, key=lambda part: part[0])[1].probability,
                relevance=min(1.0, sum(part[0] for part in parts)),
            )
            for unit, parts in contributions.items()
        )
        return tuple(sorted(candidates, key=lambda candidate: (-candidate.relevance, candidate.unit))[:_MOST_CANDIDATES])

    def _competent(self, entry: RequestClass, district: DistrictCode | None, day: date) -> Iterator[tuple[UnitCode, _Prior]]:
        designated = self._designated(entry, district)
        yield designated, _LEADS
        if designated != entry.lead:
            yield entry.lead, _HAS_THE_LINE
        for unit in self._co_handlers(entry, designated, district, day):
            if unit != entry.lead:
                yield unit, _HELPS

    @staticmethod
    def _designated(entry: RequestClass, district: DistrictCode | None) -> UnitCode:
        """Return the unit that the catalogue names to lead; without a district the municipal department stands in for its team."""
        if entry.level is Level.DISTRICT_FIRST and district is not None:
            return UnitCode(district)
        return entry.lead

    def _is_competent(self, entry: RequestClass, unit: UnitCode) -> bool:
        """Tell whether the catalogue gives a unit any part in a class; if not, the class was likely wrong, and its helpers are too."""
        team = DistrictCode(unit) in self.catalogue.districts and entry.level is not Level.MUNICIPAL
        return team or unit == entry.lead or unit in entry.co_handlers

    def _co_handlers(self, entry: RequestClass, lead: UnitCode, district: DistrictCode | None, day: date) -> tuple[UnitCode, ...]:
        team = (UnitCode(district),) if entry.level is Level.JOINT and district is not None else ()
        units = dict.fromkeys((*entry.co_handlers, *team))
        return tuple(unit for unit in units if unit != lead and self.catalogue.unit(unit, day) is not None)
