"""UTF-8 and GB18030 are told apart, and damage in one is not taken for the other."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medray.data.files.encoding import detect_encoding

CHINESE = "患者三天前开始发热，伴有咳嗽。\n既往体健，无药物过敏史。\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"plain ASCII\n", "utf-8-sig"),
        (b"", "utf-8-sig"),
        (CHINESE.encode(), "utf-8-sig"),
        (b"\xef\xbb\xbf" + CHINESE.encode(), "utf-8-sig"),
        (CHINESE.encode("gb18030"), "gb18030"),
        (("一\n" + CHINESE).encode("gb18030"), "gb18030"),  # 一 alone is also valid UTF-8
        (("department,ask\n" + CHINESE).encode("gb18030"), "gb18030"),
        ("㐀㐁：患者三天前开始发热，伴有咳嗽".encode("gb18030"), "gb18030"),
        ("问题".encode("gb18030"), "utf-8-sig"),
        ("café naïve\n".encode("latin-1"), "utf-8-sig"),
        ((CHINESE * 9).encode() + b"\xff\xb0\xa1\n", "utf-8-sig"),
        (CHINESE.encode()[:-2], "utf-8-sig"),
        (CHINESE.encode("gb18030")[:-2], "gb18030"),
    ],
)
def test_encoding_of(content: bytes, expected: str) -> None:
    assert detect_encoding(content, "x") == expected


@given(
    text=st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=30),
    cut=st.integers(0, 3),
)
def test_chinese_text_is_found_in_either_even_when_cut(text: str, cut: int) -> None:
    utf8, gb = text.encode(), text.encode("gb18030")
    with contextlib.suppress(UnicodeDecodeError):
        gb[:-4].decode()
        assume(False)  # a run of a few characters may be valid as both
    assert detect_encoding(utf8[: len(utf8) - cut], "x") == "utf-8-sig"
    assert detect_encoding(gb[: len(gb) - cut], "x") == "gb18030"
