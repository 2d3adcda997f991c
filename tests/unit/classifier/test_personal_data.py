from __future__ import annotations

import pytest

from services.classifier.adapters.ngrams import grams
from services.classifier.domain.personal_data import without_personal_data
from services.classifier.domain.text import normalise


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("电话13812345678找我", "电话00000000000找我"),
        ("电话13812345678元", "电话00000000000元"),
        ("座机023-6789 1234转8", "座机000-0000 0000转8"),
        ("电话：(023)67891234", "电话:(023)00000000"),
        ("１３８１２３４５６７８", "00000000000"),
        ("138\u200b1234\u200b5678", "000 0000 0000"),
        ("幺三八一二三四五六七八", "***********"),
        ("身份证50010619900101123X", "身份证00000000000000000*"),
        ("卡号6222 0212 3456 7890 123", "卡号0000 0000 0000 0000 000"),
        ("写到Zhang.San@163.com吧", "写到*****.***@000.***吧"),
        ("统一社会信用代码91350100M000100Y43", "统一社会信用代码00000000*000000*00"),
        ("车牌渝A12345被拖", "车牌**00000被拖"),
        ("户号1234567890停电", "户号0000000000停电"),
        ("微信号 abc_123", "微信号 ***_000"),
        ("联系人：张三丰，电话", "联系人:***,电话"),
        ("联系人张伟电话", "联系人**电话"),
        ("我叫李小明，开饭馆", "我叫***,开饭馆"),
        ("找李经理和欧阳女士", "找*经理和**女士"),
    ],
)
def test_what_tells_who_a_person_is_is_hidden_and_all_else_keeps_its_place(text: str, hidden: str) -> None:
    left = without_personal_data(text)

    assert left == hidden
    assert len(left) == len(text)


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
        "二〇二六年三月欠的",
    ],
)
def test_sums_dates_and_plain_words_stay(text: str) -> None:
    assert without_personal_data(text) == text


def test_for_the_model_a_hidden_number_is_the_same_number() -> None:
    texts = ["联系13800138000", "电话023-67891234"]

    before, after = (grams(some, 2) for some in ([normalise(text) for text in texts], [without_personal_data(text) for text in texts]))

    assert before.keys.tolist() == after.keys.tolist()
