"""The catalogue: classes, units and districts, with their validity."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from services.dispatcher.domain.errors import CatalogueInvalid
from services.dispatcher.domain.phrases import Phrases, normalise
from services.dispatcher.domain.values import DUTY_DESK, DistrictCode, UnitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from services.dispatcher.domain.rules import Rule
    from services.dispatcher.domain.values import ClassCode


class Level(StrEnum):
    """Who acts first for a class."""

    DISTRICT_FIRST = "district_first"
    MUNICIPAL = "municipal"
    JOINT = "joint"


class UnitKind(StrEnum):
    """What kind of unit."""

    MUNICIPAL = "MUNICIPAL"
    DISTRICT = "DISTRICT"
    DUTY_DESK = "DUTY_DESK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Department:
    """A municipal department.

    Attributes:
        code: Its code as a unit.
        name_zh: Its usual short name, by which classes name their co-handlers.
    """

    code: UnitCode
    name_zh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class District:
    """A district, county or zone, and its team.

    Attributes:
        code: Code of GB/T 2260 or an internal one; also the code of its team as a unit.
        name_zh: Full name.
        valid_to: Day after the last on which it was in force; None while it is.
        succeeded_by: Districts that came after it, the usual one first.
    """

    code: DistrictCode
    name_zh: str
    valid_to: date | None = None
    succeeded_by: tuple[DistrictCode, ...] = ()

    def in_force(self, day: date) -> bool:
        """Tell whether it is in force on a day."""
        return self.valid_to is None or day < self.valid_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name by which texts mean a district.

    Attributes:
        name: As it stands in texts.
        district: The district meant; None if the name looks like a district's and means none.
        part_of: If given, the name is read only to tell which successor of this abolished district is meant.
        valid_from: First day on which it means that; None for always.
        valid_to: Day after the last on which it means that; None for ever.
    """

    name: str
    district: DistrictCode | None
    part_of: DistrictCode | None = None
    valid_from: date | None = None
    valid_to: date | None = None

    def in_force(self, day: date) -> bool:
        """Tell whether it means its district on a day."""
        return (self.valid_from is None or self.valid_from <= day) and (self.valid_to is None or day < self.valid_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClass:
    """A class of requests (问题类别).

    Attributes:
        code: Its code.
        name_zh: Chinese name.
        name_en: English name.
        domain_zh: Chinese name of its domain.
        lead: The municipal department in whose line it is.
        level: Who acts first.
        co_handlers: Units that help.
        outside_co_handlers: Names of bodies that help and that are not units here; for people's information.
    """

    code: ClassCode
    name_zh: str
    name_en: str
    domain_zh: str
    lead: UnitCode
    level: Level
    co_handlers: tuple[UnitCode, ...] = ()
    outside_co_handlers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit (承办单位)."""

    code: UnitCode
    name_zh: str
    kind: UnitKind


class Catalogue:
    """Everything that the dispatcher knows of the city. Immutable; safe for many threads."""

    def __init__(
        self,
        *,
        version: str,
        classes: Sequence[RequestClass],
        departments: Sequence[Department],
        districts: Sequence[District],
        aliases: Sequence[Alias],
        rules: Sequence[Rule],
    ) -> None:
        """Check and index the catalogue.

        Raises:
            CatalogueInvalid: It contradicts itself; every problem is named.
        """
        problems = [*_problems(classes, departments, districts, aliases, rules)]
        if problems:
            raise CatalogueInvalid(problems)
        self.version = version
        self.classes: Mapping[ClassCode, RequestClass] = {each.code: each for each in classes}
        self.districts: Mapping[DistrictCode, District] = {each.code: each for each in districts}
        self.rules = tuple(rules)
        self.aliases = tuple(aliases)
        self._units = {unit.code: unit for unit in _units(departments, districts)}
        self._names: dict[date, Phrases[DistrictCode | None]] = {}

    @property
    def every_unit(self) -> tuple[Unit, ...]:
        """All units, those of abolished districts included, since their topics may still hold messages."""
        return tuple(self._units.values())

    def units_in_force(self, day: date) -> tuple[Unit, ...]:
        """Return the units that can be given tickets on a day."""
        return tuple(unit for unit in self._units.values() if self._in_force(unit, day))

    def unit(self, code: str, day: date) -> Unit | None:
        """Return the unit of a code, or None if there is none in force on that day."""
        unit = self._units.get(UnitCode(code))
        return unit if unit is not None and self._in_force(unit, day) else None

    def unit_name(self, code: UnitCode) -> str:
        """Return a unit's name for people; its code if it has none."""
        unit = self._units.get(code)
        return unit.name_zh if unit else code

    def _in_force(self, unit: Unit, day: date) -> bool:
        return unit.kind is not UnitKind.DISTRICT or self.districts[DistrictCode(unit.code)].in_force(day)

    def resolve_district(self, code: str, day: date, text: str = "") -> DistrictCode | None:
        """Return the district that stands for a code on a day: itself, or the successor in force.

        A district with several successors resolves to the one whose part `text` names, else to the first.

        Args:
            code: Code of a district, in force or abolished, as in a request or in a credit code.
            day: The ticket's day.
            text: The request, normalised.
        """
        district = self.districts.get(DistrictCode(code))
        while district is not None and not district.in_force(day):
            named = self._named_part(district, text)
            following = named or next(iter(district.succeeded_by), None)
            district = self.districts[following] if following else None
        return district.code if district else None

    def _named_part(self, district: District, text: str) -> DistrictCode | None:
        parts = (alias for alias in self.aliases if alias.part_of == district.code and normalise(alias.name) in text)
        return next((alias.district for alias in parts if alias.district in district.succeeded_by), None)

    def district_named_in(self, text: str, day: date) -> DistrictCode | None:
        """Return the one district that a text names, or None if it names none or several.

        Args:
            text: The request, normalised.
            day: The ticket's day; decides what old names mean.
        """
        named = {code for code in self._district_names(day).find(text) if code is not None}
        resolved = {self.resolve_district(code, day, text) for code in named}
        return resolved.pop() if len(resolved) == 1 else None

    def _district_names(self, day: date) -> Phrases[DistrictCode | None]:
        names = self._names.get(day)
        if names is None:
            meanings: dict[str, DistrictCode | None] = {each.name_zh: each.code for each in self.districts.values()}
            meanings |= {alias.name: alias.district for alias in self.aliases if alias.part_of is None and alias.in_force(day)}
            names = Phrases(meanings)
            # A few days are in use at a time; a replay over years must not fill the memory.
            self._names = {day: names} if len(self._names) > 7 else {**self._names, day: names}  # noqa: PLR2004
        return names


def _units(departments: Iterable[Department], districts: Iterable[District]) -> Iterator[Unit]:
    for department in departments:
        yield Unit(code=department.code, name_zh=department.name_zh, kind=UnitKind.MUNICIPAL)
    for district in districts:
        yield Unit(code=UnitCode(district.code), name_zh=f"{district.name_zh}服务专班", kind=UnitKind.DISTRICT)
    yield Unit(code=DUTY_DESK, name_zh="市级值班席", kind=UnitKind.DUTY_DESK)


def _problems(
    classes: Sequence[RequestClass],
    departments: Sequence[Department],
    districts: Sequence[District],
    aliases: Sequence[Alias],
    rules: Sequence[Rule],
) -> Iterator[str]:
    department_codes = {each.code for each in departments}
    class_codes = {each.code for each in classes}
    for kind, entries in (("classes", classes), ("departments", departments), ("districts", districts)):
        if not entries:
            yield f"there are no {kind}"
    yield from _duplicates("class", [each.code for each in classes])
    yield from _duplicates("unit", [*(each.code for each in departments), *(each.code for each in districts), DUTY_DESK])
    yield from _duplicates("rule", [each.rule_id for each in rules])
    for each in classes:
        if each.lead not in department_codes:
            yield f"class {each.code}: its lead {each.lead!r} is no department"
    yield from _district_problems(districts)
    yield from _alias_problems(aliases, {each.code: each for each in districts})
    for rule in rules:
        if rule.class_code not in class_codes:
            yield f"rule {rule.rule_id}: there is no class {rule.class_code!r}"


def _district_problems(districts: Sequence[District]) -> Iterator[str]:
    by_code = {each.code: each for each in districts}
    for each in districts:
        if each.valid_to is not None and not each.succeeded_by:
            yield f"district {each.code}: it ended on {each.valid_to} and names no successor"
        if each.valid_to is None and each.succeeded_by:
            yield f"district {each.code}: it names successors and has not ended"
        for code in each.succeeded_by:
            following = by_code.get(code)
            if following is None:
                yield f"district {each.code}: its successor {code!r} is not in the catalogue"
            elif following.valid_to is not None and each.valid_to is not None and following.valid_to <= each.valid_to:
                yield f"district {each.code}: its successor {code} ended on {following.valid_to}, not after it"


def _alias_problems(aliases: Sequence[Alias], districts: Mapping[DistrictCode, District]) -> Iterator[str]:
    for each in aliases:
        if each.district is not None and each.district not in districts:
            yield f"district alias {each.name}: there is no district {each.district!r}"
        if each.part_of is not None and (each.part_of not in districts or each.district not in districts[each.part_of].succeeded_by):
            yield f"district alias {each.name}: {each.district!r} is no successor of {each.part_of!r}"
    plain = [each for each in aliases if each.part_of is None]
    for one, other in ((a, b) for i, a in enumerate(plain) for b in plain[i + 1 :] if a.name == b.name):
        if _overlap(one, other):
            yield f"district alias {one.name}: it stands twice for the same days"


def _overlap(one: Alias, other: Alias) -> bool:
    one_ends_first = one.valid_to is not None and other.valid_from is not None and one.valid_to <= other.valid_from
    other_ends_first = other.valid_to is not None and one.valid_from is not None and other.valid_to <= one.valid_from
    return not one_ends_first and not other_ends_first


def _duplicates(kind: str, codes: Iterable[str]) -> Iterator[str]:
    for code, count in Counter(codes).items():
        if count > 1:
            yield f"{kind} {code} stands {count} times"
