"""Hides what tells who a person is, before a text is kept to learn from or leaves this system.

Whatever is hidden is replaced character by character, so that positions stay true. It errs on the side of hiding: a number of seven
digits or more goes, whether it is a phone, an identity card, a bank card or none of them, unless it is a sum, a quantity or a date. Names
are found only where a word announces them (联系人, 姓名) or a title follows (先生, 经理): a name without either stays.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from services.classifier.domain.slots import find_slots
from services.classifier.domain.text import IGNORED, normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

_PERSONAL_SLOTS = frozenset({"uscc", "licence_plate", "account_no"})

_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘蒋蔡余杜叶程苏魏吕丁沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷"
    "侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤冉牟蒲"
)
_SURNAME = f"(?!马上|方案|高新|江津|江苏|韩国)(?:欧阳|司马|上官|诸葛|皇甫|尉迟|[{_SURNAMES}])"
_HAN = "[\u4e00-\u9fff]"
_ANNOUNCED = re.compile(
    r"(?:联系人|姓名|法定代表人|法人代表|法人|负责人|经办人|申请人|投诉人|委托人|当事人|本人|我叫|我是|名叫|签名|落款)"
    rf"(?:姓名|名字)?(?:是|为|叫)?[:,、( ]{{0,3}}(?P<value>{_SURNAME}{_HAN}(?:(?=电话|手机|联系|身份|先生|女士|的|是|在|我)|{_HAN}?))"
)
_TITLED = re.compile(
    rf"(?P<value>{_SURNAME}{_HAN}{{0,2}}?)"
    r"(?:先生|女士|小姐|经理|主任|科长|处长|局长|队长|师傅|老师|老板|会计|总(?![部局厂院站包量额价工体结会共]))"
)
_EMAIL = re.compile(r"(?<![0-9a-z._%+-])[0-9a-z._%+-]{1,64}@[0-9a-z-]{1,63}(?:\.[0-9a-z-]{1,63}){1,4}")
_HANDLE = re.compile(r"(?:微信|weixin|wechat|qq|vx|钉钉)(?:账号|号码|号)?(?:是|为)?[:, ]{0,3}(?P<value>[0-9a-z][0-9a-z_-]{4,29})")
_CODE = re.compile(r"(?<![0-9a-z])(?=[a-z]{0,9}\d)(?:[0-9a-z]{15}|[0-9a-z]{18})(?![0-9a-z])")
_MOBILE_NUMBER = re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")
_NUMBER = re.compile(
    r"(?<!\d)(?!20\d\d(?:[-./ ]\d{1,2}[-./ ]\d{1,2}| ?- ?20\d\d|(?:0[1-9]|1[0-2])[0-3]\d)(?!\d))\d(?:[ -]{0,2}\d){6,30}+x?"
    r"(?! ?(?:\.\d|元|块|万|亿|美元|美金|欧元|平|㎡|m2|吨|千瓦|度|件|台|立方))"
)
_SPELLED_NUMBER = re.compile("[〇零一二三四五六七八九幺两]{7,}")
_PATTERNS = (_EMAIL, _HANDLE, _CODE, _MOBILE_NUMBER, _NUMBER, _SPELLED_NUMBER, _ANNOUNCED, _TITLED)


def without_personal_data(text: str) -> str:
    """Return a text in uniform characters, each at its old position, with 0 for every figure and * for every letter that is hidden.

    A model that takes a run of figures for one figure loses nothing by the 0.
    """
    uniform = normalise(text).replace(IGNORED, " ")
    characters = list(uniform)
    for start, end in chain(_slots(uniform), _matches(uniform)):
        characters[start:end] = [_stand_in(character) for character in characters[start:end]]
    return "".join(characters)


def _stand_in(character: str) -> str:
    if character.isdecimal():
        return "0"
    return "*" if character.isalnum() else character


def _slots(text: str) -> Iterator[tuple[int, int]]:
    return ((slot.start, slot.end) for slot in find_slots(text) if slot.key in _PERSONAL_SLOTS)


def _matches(text: str) -> Iterator[tuple[int, int]]:
    for pattern in _PATTERNS:
        group = "value" if "value" in pattern.groupindex else 0
        yield from (match.span(group) for match in pattern.finditer(text))
