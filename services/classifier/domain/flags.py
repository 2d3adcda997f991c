"""What makes a request urgent or its writer angry, where the text says so in plain words.

Only what held when hits were read by hand is here (figures: README); a text without a flag may be urgent all the same. Danger to life is
left out until there are texts to measure it on. Patterns see normalised text; what is negated, feared, ordered or over is not meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class FlagKind(StrEnum):
    """What is pointed out."""

    PRODUCTION_STOPPED = "production_stopped"
    DEADLINE_NEAR = "deadline_near"
    STRONG_COMPLAINT = "strong_complaint"
    PETITION_THREAT = "petition_threat"


@dataclass(frozen=True, slots=True)
class Flag:
    """A reason to hurry, or to take care.

    Attributes:
        kind: Which.
        start: First character of the words that say so, from 0, in Unicode code points.
        end: One past the last.
    """

    kind: FlagKind
    start: int
    end: int


_NOT = (
    "(?<![不没未别免防勿怕])"
    "(?<!没有)(?<!没得)(?<!不会)(?<!不能)(?<!不要)(?<!避免)(?<!以免)(?<!免得)(?<!防止)(?<!如果)(?<!要是)(?<!万一)(?<!责令)(?<!要求)"
)
_COUNT = r"[一二两三四五六七八九十\d]{1,3}"
_FEW = r"(?:[一二两三四五六七八九]|(?<!\d)\d)"
_WHAT_RUNS = "(?:生产线|产线|流水线|整条线|车间|全厂|工厂|厂子|机器|设备|机台|工地)"
_SOON = "(?:今天|今晚|明天|明早|后天|这周[一二三四五六日]|下周一)"
_PATTERNS = {
    FlagKind.PRODUCTION_STOPPED: (
        f"(?<!责令)(?<!要求){_WHAT_RUNS}(?:已经|现在|目前|全线|全面|全部|全都|都|已|也|就|被迫){{0,3}}(?:停产|停工|停线|停摆|停转|停起|趴窝|停着|停了)(?!多年|放假|整顿|整治|改造)"
        f"|{_NOT}(?<![年要])(?:已经?(?:停产|停线)|(?:被迫|全线|全面)(?:停产|停工|停线))(?!整顿|整治|改造|多年|放假)"
        f"|{_NOT}累计(?:停产|停工|停线){_COUNT}个?小时"
    ),
    FlagKind.DEADLINE_NEAR: (
        f"{_SOON}(?:就|下班前|前|晚上)?要?(?:截止|到期|过期|失效|开标|开庭|到了|放款)"
        f"|(?:期限|有效期|截止|放款|许可)[^。;!?,]{{0,6}}[只还仅]剩{_FEW}个?(?:天|日|工作日)"
        f"|[只还仅]剩{_FEW}个?(?:天|日|工作日)(?:到期|截止)"
        "|(?:截止|申报|年报|报名|缴费|征期)[^。;!?,]{0,4}最后[一二两三123]天(?!是)"
    ),
    FlagKind.STRONG_COMPLAINT: (
        "踢皮球|踢来踢去|推来推去|推过来推过去|互相推脱|相互推脱|互相推(?![荐广进动介送])|(?<!三天)两头推|两边推|推诿"
        "|忍无可忍|气死[我人]|太气人|欺人太甚|欺负人|岂有此理|太过分|太不像话|忍不了|受够了|管不管!|什么态度|强烈(?:不满|抗议|谴责)"
        "|(?:严重|极其|非常|十分)(?:不满|气愤|愤怒)"
    ),
    FlagKind.PETITION_THREAT: (
        "(?<!不)(?:要|准备|只能|只有|只好|打算|可能|引发|将)(?:集体|联名|一起|组织)?(?:去)?"
        "(?:上访|信访(?![局办件]|保证金|事项|部门|条例)|找媒体|找记者|拉横幅|静坐)"
    ),
}
_ALL = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _PATTERNS.items()))


def find_flags(text: str) -> tuple[Flag, ...]:
    """Return the flags of a normalised text, each kind once where it is said first, in their order in the text."""
    first: dict[str, Flag] = {}
    for match in _ALL.finditer(text):
        kind = str(match.lastgroup)
        first.setdefault(kind, Flag(FlagKind(kind), *match.span()))
    return tuple(first.values())
