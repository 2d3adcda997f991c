from __future__ import annotations

import pytest

from services.classifier.domain.personal_data import mask
from services.classifier.domain.text import normalise


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("电话13812345678找我", "电话***********找我"),
        ("座机023-6789 1234", "座机*************"),
        ("电话：(023)67891234", "电话:(023)********"),
        ("１３８１２３４５６７８", "***********"),
        ("幺三八一二三四五六七八", "***********"),
        ("身份证50010619900101123X", "身份证******************"),
        ("卡号6222 0212 3456 7890 123", "卡号***********************"),
        ("写到Zhang.San@163.com吧", "写到*****************吧"),
        ("统一社会信用代码91350100M000100Y43", "统一社会信用代码******************"),
        ("车牌渝A12345被拖", "车牌*******被拖"),
        ("户号1234567890停电", "户号**********停电"),
        ("微信号 abc_123", "微信号 *******"),
        ("联系人：张三丰，电话", "联系人:***,电话"),
        ("联系人张伟电话", "联系人**电话"),
        ("我叫李小明，开饭馆", "我叫***,开饭馆"),
        ("找李经理和欧阳女士", "找*经理和**女士"),
    ],
)
def test_what_tells_who_a_person_is_is_hidden_and_all_else_keeps_its_place(text: str, hidden: str) -> None:
    masked = mask(normalise(text))

    assert masked == hidden
    assert len(masked) == len(text)


@pytest.mark.parametrize(
    "text",
    [
        "注册资金12000000元,2025-05-12开的会",
        "一共12345678平方米,用电1500000度",
        "20251106那天起,2022-2024年的补贴",
        "负责人马上到,本人于今年办的证",
        "项目总投资很高,合同总额也高",
        "hs编码8471.30.00归类不对",
        "停电三次,损失86万",
    ],
)
def test_sums_dates_and_plain_words_stay(text: str) -> None:
    assert mask(text) == text
