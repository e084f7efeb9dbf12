"""`medray data render`: what is trained stands out, as the job will train it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.test_data import fail, run
from tests.data.helpers import write_jsonl
from tests.support.prepare import prepare_for, prepare_job

CHAT = {
    "conversations": [
        {"from": "human", "value": "Is it a cold?"},
        {"from": "gpt", "value": "Yes."},
        {"from": "human", "value": "What helps?"},
        {"from": "gpt", "value": "Rest."},
    ]
}
PAIR = {
    "medray": 1,
    "id": "m1",
    "messages": [{"role": "user", "content": "Is it?"}],
    "chosen": [{"role": "assistant", "content": "Yes, so."}],
    "rejected": [{"role": "assistant", "content": "No"}],
}


def test_a_chat(tiny_model: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", {"text": "x"}, CHAT)
    options = ("--kind", "sharegpt", "--model", tiny_model)
    title, counts, *text = run("render", path, "--set", "on_bad_row=skip", *options)
    assert title.startswith(f"{path}:2: ")
    assert title.endswith(", stage sft")
    assert counts.startswith("sequence, ")
    assert counts.endswith(f"{len('Yes.') + len('Rest.') + 2} trained")
    asked, answer = "<|im_start|>user\n{}<|im_end|>\n", "<|im_start|>assistant\n⟦{}<|im_end|>⟧\n"
    whole = asked.format("Is it a cold?") + answer.format("Yes.")
    whole += asked.format("What helps?") + answer.format("Rest.")
    assert "\n".join(text).rstrip("\n") == whole.rstrip("\n")
    _, _, *last = run("render", path, *options, "--with", "train=last")
    assert "\n".join(last).count("⟦") == 1
    assert "⟦Rest.<|im_end|>⟧" in "\n".join(last)
    _, _, *short = run("render", path, *options, "--with", "chat.max_tokens=60")
    assert "Is it a cold?" not in "\n".join(short), "the oldest exchange goes first"


def test_a_pair_shares_its_prompt(tiny_model: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", PAIR)
    lines = run("render", path, "--id", "m1", "--model", tiny_model)
    assert lines[0].endswith("stage preference")
    text = "\n".join(lines)
    assert text.count("Is it?") == 1
    assert "continuation 1 of 2" in text
    assert "⟦Yes, so.<|im_end|>⟧" in text
    assert "⟦No<|im_end|>⟧" in text
    assert run("render", path, "--stage", "sft", "--model", tiny_model)[1].startswith("sequence")


def test_every_token(tiny_model: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", CHAT)
    *_, tokens = run("render", path, "--tokens", "--model", tiny_model)
    assert "'<|im_start|>'" in tokens
    assert "'Y'" in tokens


def test_a_prepared_folder(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {i}.", "output": f"It is {i}."} for i in range(5)]
    data = {"path": str(write_jsonl(tmp_path / "a.jsonl", *rows)), "held_out_fraction": 0.0}
    settings = {"model": {"path": str(tiny_model)}, "layout": {"kind": "keep"}}
    prepare_for(prepare_job(tmp_path / "out", data, **settings))
    title, _, *text = run("render", tmp_path / "out", "--row", "4", "--model", tiny_model)
    assert title == f"{tmp_path / 'out'}: a.jsonl:4, row 4"
    assert "⟦It is 3.<|im_end|>⟧" in "\n".join(text)
    by_id = run("render", tmp_path / "out", "--id", "a.jsonl:4", "--model", tiny_model)
    assert by_id == [title, _, *text]
    _, error = fail("render", tmp_path / "out", "--row", "9", "--model", tiny_model)
    assert str(error) == f"{tmp_path / 'out'} has 5 training rows, but --row=9"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--row", "5"), "fewer than 5 usable rows"),
        (("--id", "zz"), "no usable row has the id zz"),
        (("--stage", "preference"), "unfit for preference"),
        (("--stage", "rl"), "no trained tokens before there are rollouts"),
        (("--with", "chat.max_token=9"), "did you mean chat.max_tokens?"),
        (("--with", "chat.max_tokens=9"), "too long"),
    ],
)
def test_what_cannot_be_shown(
    tiny_model: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", CHAT)
    _, error = fail("render", path, "--model", tiny_model, *arguments)
    assert message in str(error)
    assert "\n" not in str(error)


def test_steps_are_marked_where_they_are_read(tiny_model: Path, tmp_path: Path) -> None:
    row = {
        "prompt": "Is it?",
        "completions": ["A cold.", "So rest.", "Done."],
        "labels": [True, None, False],
    }
    path = write_jsonl(tmp_path / "a.jsonl", row)
    title, counts, *text = run("render", path, "--model", tiny_model)
    assert title.endswith(", stage process")
    assert counts.endswith(", 2 trained, step_label 1 0")
    assert "\n".join(text).rstrip("\n").endswith("A cold.\n⟦\n⟧So rest.\n\nDone.⟦<|im_end|>⟧")
    assert run("validate", path, "--stage", "process")
    lines, _ = fail("validate", path, "--stage", "sft")
    assert "unfit for sft: its steps are labelled" in lines[0]
