"""Which stage a record can train, and the record as that stage reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

from medray.data.source import RowError
from medray.types import Message, Record

Stage = Literal["pt", "sft", "preference", "kto", "process", "rl"]
"""Pretraining; supervised fine-tuning; pairs for reward models, DPO and ORPO; unpaired preferences;
solutions with labelled steps for process reward models; prompts for GRPO and PPO."""
STAGES: tuple[Stage, ...] = get_args(Stage)


def for_stage(record: Record, stage: Stage) -> Record:
    """The record with the fields that `stage` reads filled from those it has.

    - pt: `text`, else the turns of the chat a paragraph each;
    - sft: the chat with the chosen continuation, else with `answer` as the assistant's turn;
    - preference, kto, process: as it is;
    - rl: the prompt alone; the assistant's last turn becomes the `answer` where there is none.

    Raises:
        RowError: the record has nothing that the stage could train on.
    """
    match stage:
        case "pt":
            return _as_text(record)
        case "sft":
            return _as_demonstration(record)
        case "preference":
            if record.chosen and record.rejected:
                return record
            raise _unfit(stage, "it needs a chosen and a rejected continuation")
        case "kto":
            if record.chosen or record.rejected:
                return record
            raise _unfit(stage, "it needs a continuation with a label")
        case "process":
            if any("label" in step for step in record.steps):
                return record
            raise _unfit(stage, "it needs a solution in steps, at least one of them labelled")
        case "rl":
            return _as_prompt(record)


def fits(record: Record, stage: Stage) -> bool:
    """True when `for_stage` would not refuse the record."""
    try:
        for_stage(record, stage)
    except RowError:
        return False
    return True


def labelled(record: Record) -> Iterator[tuple[tuple[Message, ...], bool]]:
    """The continuations of a record with their labels, for KTO: a pair gives both."""
    if record.chosen:
        yield record.chosen, True
    if record.rejected:
        yield record.rejected, False


def _as_text(record: Record) -> Record:
    if record.text:
        return record
    contents = [m["content"] for m in (*record.messages, *record.chosen) if m["content"]]
    if not contents or record.label is False or record.steps:
        raise _unfit("pt", "it has no text")
    return replace(
        record,
        text="\n\n".join(contents),
        messages=(),
        chosen=(),
        rejected=(),
    )


def _as_demonstration(record: Record) -> Record:
    if record.chosen:
        return replace(record, messages=(*record.messages, *record.chosen), chosen=(), rejected=())
    if record.rejected:
        raise _unfit("sft", "its continuation is labelled as undesirable")
    if record.steps:
        raise _unfit("sft", "its steps are labelled, not a demonstration")
    if any(m["role"] == "assistant" and m.get("trained", True) for m in record.messages):
        return record
    if record.messages and record.messages[-1]["role"] != "assistant" and record.answer:
        answer: Message = {"role": "assistant", "content": record.answer}
        return replace(record, messages=(*record.messages, answer))
    raise _unfit("sft", "it has no assistant turn to learn from")


def _as_prompt(record: Record) -> Record:
    messages = list(record.messages)
    last: Message | None = None
    while messages and messages[-1]["role"] == "assistant":
        last = messages.pop()
    if not any(m["role"] == "user" for m in messages):
        raise _unfit("rl", "it has no user turn to answer")
    answer = record.answer or (_without_thinking(last["content"]) if last else "")
    if not answer and record.chosen:
        answer = _without_thinking(record.chosen[-1]["content"])
    return replace(
        record, messages=tuple(messages), answer=answer, chosen=(), rejected=(), steps=()
    )


def _without_thinking(content: str) -> str:
    return content.rpartition("</think>")[2].strip()


def _unfit(stage: Stage, why: str) -> RowError:
    return RowError(f"unfit for {stage}", f"{why}; remove the row or use another dataset")
