"""Encodings are told apart by the bytes, damage in one is not taken for another, and what cannot be told is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.data.files.encoding import detect_encoding
from medray.errors import DataError

CHINESE = "患者三天前开始发热，伴有咳嗽。\n既往体健，无药物过敏史。\n"
TRADITIONAL = "患者三天前開始發熱，伴有咳嗽。\n既往體健，無藥物過敏史。建議多休息，多喝水。\n"
JAPANESE = "患者は三日前から発熱と咳があります。\n既往歴は特になし、薬物アレルギーもありません。\n"
KOREAN = "환자는 3일 전부터 열이 나고 기침을 합니다.\n과거력은 없으며 약물 알레르기도 없습니다.\n"
FRENCH = "Le patient présente une fièvre depuis trois jours.\nPas d'antécédents, à surveiller, très fatigué.\n"
GERMAN = "Der Patient hat Fieber, Übelkeit und Rückenschmerzen.\nKeine Vorerkrankungen außer Übergewicht, Ruhe nötig.\n"
RUSSIAN = "Пациент жалуется на жар и кашель в течение трёх дней.\nАллергии на лекарства нет, рекомендуется покой.\n"
SENTENCES = (
    "患者三天前开始发热，伴有咳嗽。", "既往体健，无药物过敏史。", "建议多休息，多喝水。", "如症状加重请及时就医。",
    "糖尿病患者应注意饮食，控制血糖。", "高血压需要长期服药，不能随意停用。",
)  # fmt: skip


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


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "jsonl"])
@pytest.mark.parametrize(
    ("text", "written", "found"),
    [
        (CHINESE, "gb18030", "gb18030"),
        (CHINESE, "utf-16", "utf-16"),
        (FRENCH, "utf-16-le", "utf-16-le"),
        (FRENCH, "utf-16-be", "utf-16-be"),
        (CHINESE, "utf-32", "utf-32"),
        (TRADITIONAL, "big5", "big5"),
        (JAPANESE, "shift_jis", "cp932"),
        (JAPANESE, "euc_jp", "euc_jp"),
        (KOREAN, "euc_kr", "cp949"),
        (FRENCH, "latin-1", "cp1252"),
        (GERMAN, "latin-1", "cp1252"),
        (RUSSIAN, "cp1251", "cp1251"),
        (RUSSIAN, "koi8_r", "koi8_r"),
    ],
)
def test_encodings_of_other_languages(text: str, written: str, found: str, as_json: bool) -> None:
    if as_json:
        lines = text.splitlines()
        text = "".join(json.dumps({"text": line}, ensure_ascii=False) + "\n" for line in lines)
    content = text.encode(written)
    assert detect_encoding(content, "x") == found
    assert content.decode(found) == text


@given(
    sentences=st.lists(st.sampled_from(SENTENCES), min_size=3, max_size=40), cut=st.integers(0, 3)
)
def test_chinese_text_is_found_in_either_even_when_cut(sentences: list[str], cut: int) -> None:
    text = "".join(sentences)
    utf8, gb = text.encode(), text.encode("gb18030")
    assert detect_encoding(utf8[: len(utf8) - cut], "x") == "utf-8-sig"
    assert detect_encoding(gb[: len(gb) - cut], "x") == "gb18030"


def test_what_cannot_be_told_is_refused() -> None:
    content = bytes(range(0x80, 0xFF)) * 3
    with pytest.raises(DataError, match=r"x is not UTF-8.*set data\.encoding"):
        detect_encoding(content, "x")
