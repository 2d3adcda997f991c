"""Phone numbers as people send them: valid numbers are accepted, anything else is refused with its position."""

from __future__ import annotations

import pytest

from kernel.phone import InvalidPhone, normalise_phone


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("023-67001234", "023-67001234"),
        (" +86 (023) 6789-0000 ", "+86 (023) 6789-0000"),
        ("０２３－６７００１２３４", "023-67001234"),
        ("＋８６　１３８００００１１１１", "+86 13800001111"),
        ("0086-138-0000-1111", "0086-138-0000-1111"),
        ("12345", "12345"),
        ("（023）67001234", "(023)67001234"),
        ("【023】67001234", "(023)67001234"),
        ("(023 67001234", "023 67001234"),
        ("023—67001234", "023-67001234"),
        ("023–6700‐1234", "023-6700-1234"),
        ("023.6700.1234", "023-6700-1234"),
        ("023\u00a06700\u30001234", "023 6700 1234"),
    ],
)
def test_one_number_is_stored_in_ascii_with_its_grouping(sent: str, stored: str) -> None:
    assert normalise_phone(sent) == stored


@pytest.mark.parametrize("mark", "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2069\u00ad")
def test_invisible_marks_are_dropped_wherever_they_are(mark: str) -> None:
    assert normalise_phone(f"{mark}138{mark}0000{mark}1111{mark}") == "13800001111"


@pytest.mark.parametrize(
    "extension",
    [
        "转805",
        "－转８０５",
        " 转 805",
        "转分机805",
        "分机805",
        "分机号：805",
        "（转805）",
        "(分机 805)",
        " ext 805",
        " ext. 805",
        "EXT:805",
        "x805",
        "#805",
        "，转805",
        "、转805",
        ", ext. 805",
        ";ext=805",
        " extn 805",
        "总机转805",
        "转805号",
        "转805分机",
    ],
)
def test_an_extension_follows_its_number(extension: str) -> None:
    assert normalise_phone(f"023-67001234{extension}") == "023-67001234转805"


@pytest.mark.parametrize("between", ["/", "、", "或", " 或者 ", "和"])
def test_several_extensions_of_one_number_are_kept(between: str) -> None:
    assert normalise_phone(f"67001234转8001{between}8002 / 13800001111") == "67001234转8001/8002/13800001111"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("023-67001234 13800001111", "023-67001234/13800001111"),
        ("13800001111　13900001111转805", "13800001111/13900001111转805"),
        ("+86 13800001111 +852 2345 6789", "+86 13800001111/+852 2345 6789"),
        ("座机：023-67001234 手机：13800001111", "023-67001234/13800001111"),
        ("座机023-67001234手机13800001111", "023-67001234/13800001111"),
        ("手机1：13800001111 手机2：13900001111", "13800001111/13900001111"),
        ("67001234 67001235", "67001234 67001235"),
    ],
)
def test_two_numbers_without_a_separator_are_both_kept(sent: str, stored: str) -> None:
    assert normalise_phone(sent) == stored


@pytest.mark.parametrize(
    "sent", ['"13800001111"', "'13800001111", "13800001111。", "13800001111（微信同号）", "13800001111 同微信", "M:13800001111"]
)
def test_what_forms_and_spreadsheets_add_is_left_out(sent: str) -> None:
    assert normalise_phone(sent) == "13800001111"


@pytest.mark.parametrize("separator", ["/", "／", "、", ",", "，", "；", ";", " 或 ", "或者", " / ", "|", "和", " or "])
def test_two_numbers_are_both_kept(separator: str) -> None:
    assert normalise_phone(f"023-67001234转805{separator}13800001111") == "023-67001234转805/13800001111"


@pytest.mark.parametrize(
    "label",
    [
        "电话：",
        "电话",
        "联系电话:",
        "办公电话 ",
        "手机",
        "手机号码：",
        "Tel: ",
        "TEL.",
        "tel:",
        "☎️ ",
        "📱",
        "電話：",
        "联系人电话：",
        "服务热线：",
        "客服电话 ",
        "总机：",
    ],
)
def test_labels_are_left_out(label: str) -> None:
    assert normalise_phone(f"{label}023-67001234，手机：13800001111") == "023-67001234/13800001111"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("", "must not be empty"),
        ("\u200b \ufeff", "must not be empty"),
        ("0236\x0b7001234", "holds the character U+000B at position 5"),
        ("\u200b0236\x0b7001234", "holds the character U+000B at position 6"),
        ("13800001111\x00", "holds the character U+0000 at position 12"),
        ("13800001111\x1f", "holds the character U+001F at position 12"),
        ("12345\n67890", "holds the character U+000A at position 6"),
        ("138****1111", "holds the character U+002A at position 4"),
        ("13800001111（王经理）", "holds the character U+738B at position 13"),
        ("13800001111转人工", "holds the character U+8F6C at position 12"),
        ("一三八零零零零", "holds the character U+4E00 at position 1"),
        ("٠٢٣٤٥٦٧", "holds the character U+0660 at position 1"),
        ("call me", "holds the character U+0063 at position 1"),
        ("1234", "too few digits (4) in the number at position 1"),
        ("023 6700 1234 138 0000 1111", "too many digits (22) in the number at position 1"),
        ("13800001111/5", "too few digits (1) in the number at position 13"),
        ("1" * 31, "too many digits (31) in the number at position 1"),
        ("电话", "ends where a number is expected"),
        ("1" * 201, "has 201 characters, at most 200"),
        ("/".join(["13800001111"] * 9), "at most 100"),
    ],
)
def test_what_nobody_can_dial_is_refused_and_told_where(sent: str, said: str) -> None:
    with pytest.raises(InvalidPhone) as refused:
        normalise_phone(sent)

    assert said in str(refused.value)
