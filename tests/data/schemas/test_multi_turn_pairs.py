"""Preferences whose prompts are dialogues and whose sides are several turns: what is trained, in every layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medray.config.data import DataConfig
from medray.config.supervised import ChatConfig
from medray.data.batches.examples import LabelledExamples, PairExamples
from medray.data.loading.mixture import open_source
from medray.data.rendering.chat import renderer_of
from medray.data.source import Row
from medray.types import Continuation
from tests.support.chats import byte_tokenizer, decoded

from ..helpers import write_jsonl

TEMPLATE = (
    "{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }}."
    "{% endfor %}{% if add_generation_prompt %}a:{% endif %}"
)
"""`u:Q.a:A.`: the stop token of every turn is a full stop."""
TOKENIZER: Any = byte_tokenizer(".", eos=".", template=TEMPLATE)
TOOLS = [{"name": "bmi", "parameters": {"type": "object"}}]


def u(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def a(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _marked(continuation: Continuation) -> str:
    """The text, what is trained in capitals."""
    tokens = zip(continuation.token_ids, continuation.trained, strict=True)
    pieces = [(decoded(TOKENIZER, [token]), trained) for token, trained in tokens]
    return "".join(text.upper() if trained else text for text, trained in pieces)


def _read(folder: Path, row: dict[str, Any], examples: type[PairExamples]) -> tuple[str, ...]:
    [read] = open_source(DataConfig(path=str(write_jsonl(folder / "rows.jsonl", row)))).rows
    assert isinstance(read, Row), read
    [example] = examples(renderer_of(TOKENIZER), ChatConfig())(read.record)
    tree = example.tree
    return decoded(TOKENIZER, tree.prompt_ids), *map(_marked, tree.continuations)


SIDES = {"chosen": [a("good"), u("r"), a("fine")], "rejected": [a("bad"), u("s"), a("poor")]}
TRAINED = ("GOOD.u:r.a:FINE.", "BAD.u:s.a:POOR.")
HH = "\n\nHuman: q\n\nAssistant: {}\n\nHuman: {}\n\nAssistant: {}"
DIALOGUE = [u("q"), a("x"), u("p")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "q", **SIDES}, ("u:q.a:", *TRAINED)),
        ({"question": "q", "system": "k", **SIDES}, ("s:k.u:q.a:", *TRAINED)),
        ({"prompt": DIALOGUE, **SIDES}, ("u:q.a:x.u:p.a:", *TRAINED)),
        ({"messages": DIALOGUE, **SIDES}, ("u:q.a:x.u:p.a:", *TRAINED)),
        ({"conversations": DIALOGUE, **SIDES}, ("u:q.a:x.u:p.a:", *TRAINED)),
        ({side: [*DIALOGUE, *SIDES[side]] for side in SIDES}, ("u:q.a:x.u:p.a:", *TRAINED)),
        (
            {"prompt": DIALOGUE, **{side: [*DIALOGUE, *SIDES[side]] for side in SIDES}},
            ("u:q.a:x.u:p.a:", *TRAINED),
        ),
        (
            {"chosen": HH.format("good", "r", "fine"), "rejected": HH.format("bad", "s", "poor")},
            ("u:q.a:", *TRAINED),
        ),
        (
            {"prompt": HH.format("x", "p", ""), "chosen": "good", "rejected": "bad"},
            ("u:q.a:x.u:p.a:", "GOOD.", "BAD."),
        ),
        (
            {"instruction": "p", "history": [["q", "x"]], "chosen": "good", "rejected": "bad"},
            ("u:q.a:x.u:p.a:", "GOOD.", "BAD."),
        ),
        ({"prompt": DIALOGUE, **SIDES, "rejected": [a("bad")]}, ("u:q.a:x.u:p.a:", TRAINED[0], "BAD.")),
        (
            {"conversation_a": [u("q"), *SIDES["chosen"]], "winner": "model_a",
             "conversation_b": [u("q"), *SIDES["rejected"]]},
            ("u:q.a:", *TRAINED),
        ),
        (
            {"prompt": [u("q")], "responses": [SIDES["rejected"], SIDES["chosen"]], "scores": [1, 2]},
            ("u:q.a:", *TRAINED),
        ),
    ],
    ids=[
        "text", "question", "prompt", "messages", "conversations", "whole", "prompt and whole", "hh", "hh prompt",
        "history", "sides of different lengths", "arena", "ranked",
    ],
)  # fmt: skip
def test_only_the_assistants_turns_of_both_sides_are_trained(
    tmp_path: Path, row: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    assert _read(tmp_path, row, PairExamples) == expected


def test_turns_that_both_sides_begin_with_are_context(tmp_path: Path) -> None:
    """The answer before the two dialogues part says nothing about which is better."""
    row = {
        "chosen": [u("q"), a("same"), u("r"), a("fine")],
        "rejected": [u("q"), a("same"), u("s"), a("poor")],
    }
    expected = ("u:q.a:same.u:", "r.a:FINE.", "s.a:POOR.")
    assert _read(tmp_path, row, PairExamples) == expected
    assert _read(tmp_path, row, LabelledExamples) == expected


def test_a_side_that_ends_where_the_other_goes_on_is_trained_whole(tmp_path: Path) -> None:
    row = {"chosen": [u("q"), a("same")], "rejected": [u("q"), a("same"), u("s"), a("poor")]}
    assert _read(tmp_path, row, PairExamples) == ("u:q.a:", "SAME.", "SAME.u:s.a:POOR.")


def test_a_tools_result_within_a_side_is_not_trained(tmp_path: Path) -> None:
    call = {**a(""), "tool_calls": [{"name": "bmi", "arguments": {"kg": 70}}]}
    result = {"role": "tool", "content": "22"}
    row = {
        "messages": [u("q")],
        "tools": TOOLS,
        "chosen": [call, result, a("fine")],
        "rejected": [a("bad")],
    }
    _, chosen, rejected = _read(tmp_path, row, PairExamples)
    called, _, after = chosen.partition("u:Observation: 22.a:")
    assert called == 'ACTION: BMI\nACTION INPUT: {"KG": 70}.'
    assert (after, rejected) == ("FINE.", "BAD.")


def test_a_labelled_answer_may_be_several_turns(tmp_path: Path) -> None:
    row = {"prompt": DIALOGUE, "completion": SIDES["chosen"], "label": True}
    assert _read(tmp_path, row, LabelledExamples) == ("u:q.a:x.u:p.a:", TRAINED[0])
