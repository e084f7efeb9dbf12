"""Near-duplicates: the estimate against the true likeness, and independence from how rows are cut."""

from __future__ import annotations

import random

import numpy as np
import pytest

from medray.config.prepare import DuplicatesConfig
from medray.data.pipelines.minhash import NearDuplicates, sketch, word_sequences
from tests.support.prepare import WORDS

CONFIG = DuplicatesConfig(threshold=0.8)


def texts(count: int, length: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    names = [f"{word}{i}" for word in WORDS for i in range(50)]
    return [" ".join(rng.choice(names) for _ in range(length)) for _ in range(count)]


def jaccard(one: str, other: str) -> float:
    a, b = (set(word_sequences(text, CONFIG.ngram)) for text in (one, other))
    return len(a & b) / len(a | b)


def changed(text: str, num_words: int, rng: random.Random) -> str:
    words = text.split()
    for at in rng.sample(range(len(words)), num_words):
        words[at] = f"other{rng.randrange(10**6)}"
    return " ".join(words)


def flags(rows: list[str], config: DuplicatesConfig = CONFIG, piece: int = 10**6) -> list[bool]:
    index = NearDuplicates(config)
    found: list[bool] = []
    for start in range(0, len(rows), piece):
        found += index.add(*sketch(rows[start : start + piece], config)).tolist()
    return found


def test_the_same_text_repeats_whatever_its_case_width_and_punctuation() -> None:
    rows = [
        "Take two tablets daily, please!",
        "take TWO tablets daily please",
        "Ｔake two tablets daily please",
    ]
    assert flags(rows) == [False, True, True]


def test_chinese_is_compared_by_characters() -> None:
    rows = [
        "感冒以后应该多喝水多休息注意保暖",
        "感冒以后应该多喝水，多休息，注意保暖。",
        "糖尿病人应该控制饮食按时服药",
    ]
    assert flags(rows) == [False, True, False]


def test_texts_without_words_repeat_nothing() -> None:
    assert flags(["", "?!", "...", "fever", "fever"]) == [False, False, False, False, True]


def test_likeness_decides() -> None:
    rng = random.Random(1)
    first = texts(300, 120)
    near = [changed(text, 1, rng) for text in first]
    far = [changed(text, 12, rng) for text in first]
    assert min(map(jaccard, first, near)) > 0.9
    assert max(map(jaccard, first, far)) < 0.6
    found = flags([*first, *near, *far])
    assert sum(found[:300]) == 0
    assert sum(found[300:600]) == 300
    assert sum(found[600:]) == 0


def test_a_lower_threshold_finds_weaker_likeness() -> None:
    rng = random.Random(2)
    first = texts(200, 120)
    weaker = [changed(text, 8, rng) for text in first]
    assert 0.4 < np.mean(list(map(jaccard, first, weaker))) < 0.6
    loose = DuplicatesConfig(threshold=0.3, num_bands=64)
    assert sum(flags([*first, *weaker], loose)[200:]) > 195
    assert sum(flags([*first, *weaker])[200:]) == 0


@pytest.mark.parametrize("piece", [1, 7, 64, 500])
def test_how_rows_are_cut_changes_nothing(piece: int) -> None:
    rng = random.Random(3)
    rows = texts(100, 30)
    rows += [changed(rng.choice(rows), rng.randrange(3), rng) for _ in range(400)]
    assert flags(rows, piece=piece) == flags(rows)


def test_a_row_repeats_the_first_of_its_kind_even_when_that_was_dropped() -> None:
    rows = ["fever and cough since monday"] * 5
    assert flags(rows) == [False, True, True, True, True]


def test_the_index_outgrows_a_block_of_sketches() -> None:
    rng = np.random.default_rng(0)
    config = DuplicatesConfig(num_hashes=16, num_bands=4)
    index = NearDuplicates(config)
    keys = rng.integers(1, 2**62, (70_000, 4), dtype=np.uint64)
    sketches = rng.integers(0, 256, (70_000, 16), dtype=np.uint8)
    assert not index.add(keys, sketches).any()
    assert index.add(keys[69_000:], sketches[69_000:]).all()
    assert index.num_rows == 71_000
