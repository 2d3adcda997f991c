from __future__ import annotations

import pytest

from services.classifier.domain.text import IGNORED, MAX_CHARACTERS, normalise


@pytest.mark.parametrize(
    ("written", "uniform"),
    [
        ("２０００平方米，ＭＥＳ", "2000平方米,mes"),
        ("①號廠房", "1号厂房"),
        ("電壓不穩,請問營業執照", "电压不稳,请问营业执照"),
        ("第一行\r\n第二行\t末", "第一行  第二行 末"),
        ("停\u200b电\x00了", f"停{IGNORED}电{IGNORED}了"),
        ("\ud800半个", f"{IGNORED}半个"),
        ("8000㎡的厂房", "8000㎡的厂房"),
    ],
)
def test_what_is_written_differently_but_means_the_same_becomes_the_same(written: str, uniform: str) -> None:
    result = normalise(written)

    assert result == uniform


def test_of_a_text_longer_than_may_be_submitted_only_the_beginning_is_looked_at() -> None:
    result = normalise("停电" * 5_000)

    assert result == "停电" * (MAX_CHARACTERS // 2)
