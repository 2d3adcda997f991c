from __future__ import annotations

import pytest

from services.classifier.domain.slots import find_slots
from services.classifier.domain.text import normalise


def found(text: str) -> list[tuple[str, str, str]]:
    return [(slot.key, slot.value, text[slot.start : slot.end]) for slot in find_slots(normalise(text))]


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("国企欠我们货款86万", [("amount", "860000元", "86万")]),
        ("罚了三千六百块", [("amount", "3600元", "三千六百块")]),
        ("约0.8亿元投资", [("amount", "80000000元", "0.8亿元")]),
        ("外商打了５万美元", [("amount", "50000美元", "５万美元")]),
        ("五万多元", [("amount", "50000元", "五万多元")]),
        ("２０００平方米厂房和30亩地", [("area", "2000平方米", "２０００平方米"), ("area", "30亩", "30亩")]),
        ("去年5月12日到期", [("date", "--05-12", "5月12日")]),
        ("2025年8月到期", [("date", "2025-08", "2025年8月")]),
        ("2025-03-01报的", [("date", "2025-03-01", "2025-03-01")]),
        ("合同编号CQ-2024-018", [("contract_no", "CQ-2024-018", "CQ-2024-018")]),
        ("渝环准〔2024〕12号", [("permit_no", "渝环准〔2024〕12号", "渝环准〔2024〕12号")]),
        (
            "渝(2023)璧山区不动产权第001234567号",
            [("permit_no", "渝〔2023〕璧山区不动产权第001234567号", "渝(2023)璧山区不动产权第001234567号")],
        ),
        ("代码91350100M000100Y43", [("uscc", "91350100M000100Y43", "91350100M000100Y43")]),
        ("渝AD12345限行", [("licence_plate", "渝AD12345", "渝AD12345")]),
        ("归在8479.89.99", [("hs_code", "84798999", "8479.89.99")]),
        ("报关单号800220241234567890", [("declaration_no", "800220241234567890", "800220241234567890")]),
        ("2404-500107-04-01-123456", []),
        ("2024-500107-04-01-123456", [("project_code", "2024-500107-04-01-123456", "2024-500107-04-01-123456")]),
        ("户号3500012345678", [("account_no", "3500012345678", "3500012345678")]),
    ],
)
def test_values_are_found_with_their_places_in_one_spelling(text: str, slots: list[tuple[str, str, str]]) -> None:
    assert found(text) == slots


@pytest.mark.parametrize("text", ["年产30万套", "2.5万千瓦", "6万吨", "一万三千人", "万州的厂", "三五天", "几万块", "2024年", ""])
def test_numbers_that_count_other_things_are_no_sums(text: str) -> None:
    assert found(text) == []
