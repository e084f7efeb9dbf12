"""What each stage reads of a record, and which records it refuses."""

from __future__ import annotations

import pytest

from medray.data.loading.stages import STAGES, fits, for_stage, labelled
from medray.data.parsing.turns import chat
from medray.data.source import RowError
from medray.types import Record

TEXT = Record("t", (), text="Fever is a sign.")
CHAT = Record(
    "c", chat(("Q1", "A1"), user="Q2", assistant="<think>\nhm\n</think>\n\nA2", system="S")
)
ITEM = Record("i", chat(user="A or B?"), answer="B", options=("x", "y"))
PAIR = Record("p", chat(user="Q"), chosen=chat(assistant="good"), rejected=chat(assistant="bad"))
LIKED = Record("k", chat(user="Q"), chosen=chat(assistant="good"))
DISLIKED = Record("d", chat(user="Q"), rejected=chat(assistant="bad"))
UNTRAINED = Record("u", (*chat(user="Q"), {"role": "assistant", "content": "A", "trained": False}))


@pytest.mark.parametrize(
    ("record", "stages"),
    [
        (TEXT, {"pt"}),
        (CHAT, {"pt", "sft", "rl"}),
        (ITEM, {"pt", "sft", "rl"}),
        (PAIR, {"pt", "sft", "preference", "kto", "rl"}),
        (LIKED, {"pt", "sft", "kto", "rl"}),
        (DISLIKED, {"kto", "rl"}),
        (UNTRAINED, {"pt", "rl"}),
        (Record("a", chat(assistant="Hello")), {"pt", "sft"}),
    ],
    ids=lambda value: value.id if isinstance(value, Record) else None,
)
def test_stages_that_a_record_fits(record: Record, stages: set[str]) -> None:
    assert {stage for stage in STAGES if fits(record, stage)} == stages


def test_texts() -> None:
    assert for_stage(TEXT, "pt") == TEXT
    assert for_stage(PAIR, "pt").text == "Q\n\ngood"
    assert for_stage(PAIR, "pt").messages == for_stage(PAIR, "pt").chosen == ()


def test_demonstrations() -> None:
    assert for_stage(CHAT, "sft") == CHAT
    assert for_stage(PAIR, "sft").messages == chat(user="Q", assistant="good")
    assert for_stage(PAIR, "sft").rejected == ()
    assert for_stage(ITEM, "sft").messages == chat(user="A or B?", assistant="B")


def test_prompts() -> None:
    prompt = for_stage(CHAT, "rl")
    assert prompt.messages == chat(("Q1", "A1"), user="Q2", system="S")
    assert prompt.answer == "A2"
    assert for_stage(ITEM, "rl") == ITEM
    assert for_stage(PAIR, "rl").answer == "good"


def test_labels() -> None:
    assert list(labelled(PAIR)) == [(PAIR.chosen, True), (PAIR.rejected, False)]
    assert list(labelled(DISLIKED)) == [(DISLIKED.rejected, False)]


def test_a_refusal_says_what_is_missing() -> None:
    with pytest.raises(RowError) as caught:
        for_stage(CHAT, "preference")
    assert caught.value.reason == "unfit for preference"
    assert caught.value.detail.startswith("it needs a chosen and a rejected continuation; remove")
