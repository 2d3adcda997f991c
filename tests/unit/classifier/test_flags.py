from __future__ import annotations

import pytest

from services.classifier.domain.flags import find_flags
from services.classifier.domain.text import normalise


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("供电不稳，产线已经停了，急", "production_stopped", "产线已经停了"),
        ("本月累计停产19小时", "production_stopped", "累计停产19小时"),
        ("我们被迫停工在等批文", "production_stopped", "被迫停工"),
        ("贷款后天就到期了，续贷没批", "deadline_near", "后天就到期"),
        ("核名有效期还剩三天", "deadline_near", "有效期还剩三天"),
        ("年报最后三天登不上", "deadline_near", "年报最后三天"),
        ("住建、消防互相踢皮球", "strong_complaint", "踢皮球"),
        ("实在是忍无可忍", "strong_complaint", "忍无可忍"),
        ("工人说要集体上访", "petition_threat", "要集体上访"),
        ("只好去信访", "petition_threat", "只好去信访"),
    ],
)
def test_what_a_text_says_plainly_is_pointed_out_with_its_words(text: str, kind: str, words: str) -> None:
    uniform = normalise(text)

    (flag,) = find_flags(uniform)

    assert (flag.kind, uniform[flag.start : flag.end]) == (kind, words)


@pytest.mark.parametrize(
    "text",
    [
        "最怕停产，想提前报备",
        "请求不要责令停产",
        "被责令停产整顿后怎么复工",
        "停产期间工资怎么发",
        "区里要求全厂停产整顿",
        "父亲现已停工陪护",
        "工伤停工留薪期几个月",
        "企业2003年全面停产",
        "期限还剩四十天",
        "还剩13天到期",
        "今天必须给我一个说法",
        "三天两头推我下线",
        "互相推荐客户",
        "信访局在哪里上班",
        "我不要上访",
        "",
    ],
)
def test_what_is_negated_feared_ordered_over_or_far_off_is_not(text: str) -> None:
    assert find_flags(normalise(text)) == ()


def test_each_kind_comes_once_in_the_order_of_the_text() -> None:
    flags = find_flags("踢皮球,推诿,明天就到期,还在踢皮球,产线停了,后天到期")

    assert [flag.kind.value for flag in flags] == ["strong_complaint", "deadline_near", "production_stopped"]
