"""Values that a text names: sums, areas, dates, numbers of documents, codes, licence plates.

Each kind has one pattern; where kinds overlap, the more particular one wins. Patterns see normalised text: half-width, small letters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.classifier.domain import numerals
from services.classifier.domain.classification import Slot

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

_ARABIC = r"\d{1,3}(?:,\d{3}){1,5}(?:\.\d{1,6})?|\d{1,15}(?:\.\d{1,6})?"
_HAN = f"[{numerals.DIGIT_CHARACTERS}点半{numerals.UNIT_CHARACTERS}{numerals.SECTION_CHARACTERS}]"
_NUMBER = f"(?:(?:{_ARABIC})[{numerals.UNIT_CHARACTERS}]?[{numerals.SECTION_CHARACTERS}]{{0,2}}|{_HAN}{{1,20}})"
_CURRENCIES = {"美元": "美元", "美金": "美元", "欧元": "欧元", "港元": "港元", "港币": "港元", "日元": "日元"}
_AMOUNT = re.compile(
    rf"(?<![\d.a-z])(?P<number>{_NUMBER})(?:多|余|来)?(?P<section>[万亿])?"
    rf"(?:(?P<unit>美元|美金|欧元|港元|港币|日元|元|块|人民币)|(?<=[万亿])(?![{numerals.SECTION_CHARACTERS}a-z㎡㎥年份]|{_HAN}|\d|[多余来]?"
    r"(?:平|方|吨|台|件|亩|立|度|千|人|辆|只|个|次|户|米|公|标|头|套|株|箱|袋|瓶|片|条|家|名|斤|份|单|支|匹|页|字|羽|尾|块|瓦|升|颗|张|枚|组|双|桶|包|盒|州|盛|柜|粒|副|册)))",
)
_AREA = re.compile(
    rf"(?<![\d.])(?P<number>{_NUMBER})(?:多|余|来)?个?(?P<unit>平方公里|平方米|平方|平米|平|㎡|m2|m²|公顷|亩)(?![安静均时常台行等价])"
)
_DATE = re.compile(
    r"(?<!\d)(?:(?P<year>20\d\d) ?[年./-] ?(?P<month>1[0-2]|0?[1-9]) ?[月./-] ?(?P<day>3[01]|[12]\d|0?[1-9])(?: ?[日号]|(?![\d.]))"
    r"|(?P<year2>20\d\d) ?年 ?(?P<month2>1[0-2]|0?[1-9]) ?月(?! ?\d)"
    r"|(?P<month3>1[0-2]|0?[1-9]) ?月 ?(?P<day3>3[01]|[12]\d|0?[1-9]) ?[日号])",
)
_USCC = re.compile(r"(?<![0-9a-z])[159any][1-59]\d{6}[0-9a-hj-npqrtuwxy]{10}(?![0-9a-z])")
_PROJECT_CODE = re.compile(r"(?<![0-9a-z])20\d\d-\d{6}-\d{2}-\d{2}-\d{6}(?![0-9a-z])")
_PLATE = re.compile(r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][a-hj-np-z][·.]?[0-9a-hj-np-z]{5,6}(?![0-9a-z])")
_PERMIT = re.compile(
    r"[\u4e00-\u9fff]{0,10}[(〔\[【]20\d\d[)〕\]】][\u4e00-\u9fff]{0,10}?(?:第 ?)?[0-9a-z-]{1,20} ?号"
    r"|(?<![0-9a-z])(?:sc|jy|xk)\d{11,14}(?![0-9a-z])",
)
_CONTRACT = re.compile(r"合同(?:编号|号码|号)(?:是|为)?[: ]{0,2}(?P<value>[0-9a-z][0-9a-z/_-]{3,39})")
_ACCOUNT = re.compile(r"户号(?:是|为)?[: ]{0,2}(?P<value>\d{6,16})")
_DECLARATION = re.compile(r"报关单(?:编号|号码|号)?(?:是|为)?[: ]{0,2}(?P<value>\d{18})(?!\d)")
_HS_CODE = re.compile(
    r"(?:hs|海关|商品|税则|税)(?:编码|编号|号|code)?(?:是|为|归在|归到|归)?[: ]{0,2}(?P<value>\d{4}\.?\d{2}(?:\.?\d{2}){0,2})(?![\d.]\d|\d)"
    r"|(?<![\d.])(?P<dotted>\d{4}\.\d{2}\.?\d{2}(?:\.?\d{2})?)(?![\d.]|[万亿元吨平亩])",
)
_BRACKETS = str.maketrans("(〔[【)〕]】", "〔〔〔〔〕〕〕〕")


def find_slots(text: str) -> tuple[Slot, ...]:
    """Return the values that a normalised text names, in their order."""
    taken = bytearray(len(text))
    slots = []
    for key, pattern, value_of in _KINDS:
        for match in pattern.finditer(text):
            start, end = _span(match)
            value = value_of(match)
            if value is not None and not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                slots.append(Slot(key, value, start, end))
    return tuple(sorted(slots, key=lambda slot: slot.start))


def _span(match: re.Match[str]) -> tuple[int, int]:
    """Return the span of the value itself, without the words that announce it."""
    for group in ("value", "dotted"):
        if group in match.re.groupindex and match.group(group) is not None:
            return match.span(group)
    return match.span()


def _literal(match: re.Match[str]) -> str:
    start, end = _span(match)
    return match.string[start:end].upper()


def _permit(match: re.Match[str]) -> str:
    return match.group().translate(_BRACKETS).replace(" ", "").upper()


def _hs_code(match: re.Match[str]) -> str:
    return _literal(match).replace(".", "")


def _date(match: re.Match[str]) -> str:
    """Return the date in ISO 8601, without a year `--MM-DD`."""
    if match.group("year"):
        return f"{match['year']}-{match['month']:0>2}-{match['day']:0>2}"
    if match.group("year2"):
        return f"{match['year2']}-{match['month2']:0>2}"
    return f"--{match['month3']:0>2}-{match['day3']:0>2}"


def _amount(match: re.Match[str]) -> str | None:
    number = numerals.parse(match["number"] + (match["section"] or ""))
    return None if number is None else f"{_plain(number)}{_CURRENCIES.get(match['unit'] or '', '元')}"


def _area(match: re.Match[str]) -> str | None:
    number = numerals.parse(match["number"])
    if number is None:
        return None
    match match["unit"]:
        case "亩" | "公顷" | "平方公里" as unit:
            return f"{_plain(number)}{unit}"
        case _:
            return f"{_plain(number)}平方米"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[re.Match[str]], str | None]], ...] = (
    ("project_code", _PROJECT_CODE, _literal),
    ("uscc", _USCC, _literal),
    ("declaration_no", _DECLARATION, _literal),
    ("contract_no", _CONTRACT, _literal),
    ("account_no", _ACCOUNT, _literal),
    ("permit_no", _PERMIT, _permit),
    ("licence_plate", _PLATE, _literal),
    ("hs_code", _HS_CODE, _hs_code),
    ("date", _DATE, _date),
    ("area", _AREA, _area),
    ("amount", _AMOUNT, _amount),
)
