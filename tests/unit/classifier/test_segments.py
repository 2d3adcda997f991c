from __future__ import annotations

import pytest

from services.classifier.domain.segments import segments


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("园区这周停电三次。环评也一直没有批下来", ["园区这周停电三次", "环评也一直没有批下来"]),
        ("一、请尽快送电;二、请明确环评时间", ["请尽快送电", "请明确环评时间"]),
        ("园区这周停电三次,另外环评也一直没批", ["园区这周停电三次", "另外环评也一直没批"]),
        ("1.尽快恢复供电 2.退还多收电费", ["尽快恢复供电", "退还多收电费"]),
    ],
)
def test_a_text_falls_apart_at_its_marks_numbers_and_turns(text: str, parts: list[str]) -> None:
    assert segments(text) == parts


@pytest.mark.parametrize("text", ["", "停电三次", "停电。怎么办", "电费涨到1.5元一度了还要不要人活", "。。。;;;"])
def test_a_text_with_one_part_stays_whole(text: str) -> None:
    assert segments(text) == []


def test_of_a_text_with_very_many_parts_the_first_are_looked_at() -> None:
    assert len(segments("园区这周停电三次。" * 500)) == 12
