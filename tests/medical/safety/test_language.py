"""Which texts the rules cover."""

from __future__ import annotations

import pytest

from medray.medical.safety.guard import Guard
from medray.medical.safety.language import is_covered, language_of


@pytest.mark.parametrize(
    "text",
    [
        "me duele mucho el pecho y no puedo respirar",
        "ich habe starke Schmerzen in der Brust und kann nicht atmen",
        "j’ai très mal à la poitrine et je ne peux pas respirer",
        "у меня сильная боль в груди",
        "胸が痛くて息ができません",
        "가슴이 너무 아프고 숨을 못 쉬겠어요",
        "मेरे सीने में बहुत दर्द है",
        "عندي ألم شديد في صدري",
        "estou com dor no peito e falta de ar",
        "đau ngực dữ dội và khó thở",
        "mam silny ból w klatce piersiowej i nie mogę oddychać",
    ],
)
def test_other_languages_are_not_covered(text: str) -> None:
    assert not is_covered(text)
    assert not Guard().before([text]).covered


@pytest.mark.parametrize(
    "text",
    [
        "My chest hurts",
        "i cnat braethe and my chset hurst so baddly",
        "胸口疼",
        "大夫我血糖很高HI",
        "心口好似俾嘢壓住咁",
        "help",
        "",
        "Severe abdominal pain with rigidity",
    ],
)
def test_english_and_chinese_are_covered(text: str) -> None:
    assert is_covered(text)


def test_the_language_of_the_most_words() -> None:
    assert language_of("我的 blood pressure 很高") == "zh"
    assert language_of("take 板蓝根 with water every morning and evening") == "en"
