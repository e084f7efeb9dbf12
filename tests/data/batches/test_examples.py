"""Records to examples: what is trained, what is shared, what is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medray.config.dpo import DpoJob
from medray.config.kto import KtoJob
from medray.config.prm import PrmJob
from medray.config.pt import PtJob
from medray.config.sft import SftJob
from medray.data.batches.examples import Example, build_examples
from medray.data.source import RowError
from medray.types import Continuation, Message, Record
from tests.support.chats import byte_tokenizer, decoded


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_tokenizer("<|im_start|>", "<|im_end|>", eos="<|im_end|>")


def _record(**fields: Any) -> Record:
    return Record(id="r:1", messages=fields.pop("messages", ()), **fields)


def _ask(*turns: str) -> tuple[Message, ...]:
    roles = ("user", "assistant")
    return tuple({"role": roles[i % 2], "content": text} for i, text in enumerate(turns))  # type: ignore[misc]


def _trained_text(tokenizer: Any, continuation: Continuation) -> str:
    return decoded(tokenizer, continuation.token_ids[continuation.trained])


def _one(stage: Any, job: Any, tokenizer: Any, record: Record) -> Example:
    [example] = build_examples(stage, job, tokenizer)(record)
    return example


def test_a_document_is_cut_into_equal_blocks_and_ends(tokenizer: Any) -> None:
    job = PtJob(block_tokens=8)
    made = list(build_examples("pt", job, tokenizer)(_record(text="abcdefghijklmnopqr")))
    blocks = [example.tree.continuations[0] for example in made]
    assert [len(b.token_ids) for b in blocks] == [7, 6, 6], "18 letters and the end"
    joined = np.concatenate([b.token_ids for b in blocks])
    assert decoded(tokenizer, joined[:-1]) == "abcdefghijklmnopqr"
    assert joined[-1] == tokenizer.eos_token_id
    assert blocks[-1].trained[-1]
    assert all(not b.trained[0] and b.trained[1:].all() for b in blocks)
    bare = _one("pt", PtJob(append_eos=False), tokenizer, _record(text="ab"))
    assert decoded(tokenizer, bare.tree.continuations[0].token_ids) == "ab"
    with pytest.raises(RowError, match="fewer than two tokens"):
        list(build_examples("pt", PtJob(append_eos=False), tokenizer)(_record(text="a")))


def test_a_dialogue_trains_its_assistant(tokenizer: Any) -> None:
    record = _record(messages=_ask("Q", "A", "R", "B"))
    tree = _one("sft", SftJob(), tokenizer, record).tree
    assert len(tree.prompt_ids) == 0
    assert _trained_text(tokenizer, tree.continuations[0]) == "A<|im_end|>B<|im_end|>"
    last = _one("sft", SftJob(train="last"), tokenizer, record).tree
    assert _trained_text(tokenizer, last.continuations[0]) == "B<|im_end|>"
    every = _one("sft", SftJob(train_on_prompt=True), tokenizer, record).tree.continuations[0]
    assert every.trained[1:].all()
    assert not every.trained[0]


def test_a_long_dialogue_is_shortened_or_dropped(tokenizer: Any) -> None:
    record = _record(messages=_ask("Q" * 40, "A", "R", "B" * 30))
    chat = {"max_tokens": 60}
    example = _one("sft", SftJob.model_validate({"chat": chat}), tokenizer, record)
    assert example.num_dropped_messages == 2
    assert len(example.tree.continuations[0].token_ids) <= 60
    whole = len(_one("sft", SftJob(), tokenizer, record).tree.continuations[0].token_ids)
    strict = SftJob.model_validate({"chat": chat | {"on_long": "drop"}})
    with pytest.raises(RowError, match=rf"{whole} tokens are more than chat.max_tokens=60"):
        _one("sft", strict, tokenizer, record)


def test_the_system_message_of_the_job_is_rendered(tokenizer: Any) -> None:
    job = SftJob.model_validate({"data": {"system": "Be brief."}})
    tree = _one("sft", job, tokenizer, _record(messages=_ask("Q", "A"))).tree
    assert "Be brief." in decoded(tokenizer, tree.continuations[0].token_ids)


def test_a_pair_shares_its_prompt_and_trains_only_the_answers(tokenizer: Any) -> None:
    record = _record(
        messages=_ask("Q", "A", "R"), chosen=_ask("", "good")[1:], rejected=_ask("", "bad")[1:], margin=1.5
    )  # fmt: skip
    tree = _one(
        "preference", DpoJob.model_validate({"model": {"lora": {}}}), tokenizer, record
    ).tree
    assert decoded(tokenizer, tree.prompt_ids).endswith("<|im_start|>assistant\n")
    assert "A<|im_end|>" in decoded(tokenizer, tree.prompt_ids), "earlier answers are prompt"
    chosen, rejected = tree.continuations
    assert _trained_text(tokenizer, chosen) == "good<|im_end|>"
    assert _trained_text(tokenizer, rejected) == "bad<|im_end|>"
    assert set(chosen.columns["margin"]) == {1.5}


def test_a_pair_without_a_difference_or_too_long_is_refused(tokenizer: Any) -> None:
    job = DpoJob.model_validate({"model": {"lora": {}}, "chat": {"max_tokens": 40}})
    same = _record(messages=_ask("Q"), chosen=_ask("", "x")[1:], rejected=_ask("", "x")[1:])
    with pytest.raises(RowError, match="the same text"):
        _one("preference", job, tokenizer, same)
    long = _record(messages=_ask("Q"), chosen=_ask("", "x")[1:], rejected=_ask("", "y" * 40)[1:])
    with pytest.raises(RowError, match=r"more than chat.max_tokens=40"):
        _one("preference", job, tokenizer, long)


def test_labelled_responses_keep_their_labels(tokenizer: Any) -> None:
    job = KtoJob.model_validate({"model": {"lora": {}}})
    both = _record(messages=_ask("Q"), chosen=_ask("", "good")[1:], rejected=_ask("", "bad")[1:])
    tree = _one("kto", job, tokenizer, both).tree
    labels = [set(c.columns["desirable"]) for c in tree.continuations]
    assert labels == [{1.0}, {0.0}]
    only_bad = _record(messages=_ask("Q"), rejected=_ask("", "bad")[1:])
    [lone] = _one("kto", job, tokenizer, only_bad).tree.continuations
    assert _trained_text(tokenizer, lone) == "bad<|im_end|>"
    assert set(lone.columns["desirable"]) == {0.0}


def test_a_solution_is_read_where_its_steps_end(tokenizer: Any) -> None:
    """After the blank line that ends a step, and after the stop token that ends the last; no label, not trained."""
    steps = (
        {"content": "one", "label": 1.0},
        {"content": "two"},
        {"content": "three", "label": 0.25},
    )
    record = _record(messages=_ask("Q", "A", "R"), steps=steps)
    tree = _one("process", PrmJob(), tokenizer, record).tree
    [whole] = tree.continuations
    assert len(tree.prompt_ids) == 0
    ends = np.flatnonzero(whole.trained)
    before = [decoded(tokenizer, whole.token_ids[: end + 1]) for end in ends]
    assert [text.partition("R<|im_end|>")[2] for text in before] == [
        "\n<|im_start|>assistant\none\n\n",
        "\n<|im_start|>assistant\none\n\ntwo\n\nthree<|im_end|>",
    ]
    assert whole.columns["step_label"][ends].tolist() == [1.0, 0.25]


def test_a_separator_within_a_step_does_not_end_it(tokenizer: Any) -> None:
    """At inference, text is cut at separators: what is trained must be what would be cut."""
    steps = ({"content": "one\n\n\nand a half", "label": 1.0}, {"content": "two", "label": 0.0})
    job = PrmJob.model_validate({"chat": {"step_separator": "\n\n"}})
    [whole] = _one(
        "process", job, tokenizer, _record(messages=_ask("Q"), steps=steps)
    ).tree.continuations
    text = decoded(tokenizer, whole.token_ids)
    assert "one\nand a half\n\ntwo<|im_end|>" in text
    assert whole.trained.sum() == 2
    short = PrmJob.model_validate({"chat": {"max_tokens": 8}})
    with pytest.raises(RowError, match=r"more than chat.max_tokens=8"):
        _one("process", short, tokenizer, _record(messages=_ask("Q"), steps=steps))
