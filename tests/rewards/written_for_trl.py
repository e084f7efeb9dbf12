"""Reward functions as people write them for TRL, in the shapes that its documentation shows."""

from __future__ import annotations

import asyncio
import re

log: list[tuple[str, object]] = []


def brevity(completions, **kwargs):
    """Standard format: completions are texts."""
    return [-abs(20 - len(text)) / 20 for text in completions]


def num_tokens(completion_ids, **kwargs):
    """Reads only the token ids."""
    return [float(len(ids)) for ids in completion_ids]


def thinks_then_answers(completions, **kwargs):
    """Conversational format."""
    said = [completion[0]["content"] for completion in completions]
    return [float(bool(re.match(r"^<think>.*?</think><answer>.*?</answer>$", t))) for t in said]


def boxed(completions, ground_truth, **kwargs):
    """Standard format with a column of the data set."""
    found = [re.search(r"\\boxed\{(.*?)\}", text) for text in completions]
    return [float(bool(f) and f[1] == gold) for f, gold in zip(found, ground_truth, strict=True)]


def solved(prompts, completions, solution, difficulty, **kwargs):
    """Conversational format with two columns; checks that a prompt stands beside each completion."""
    assert len(prompts) == len(completions) == len(solution) == len(difficulty)
    assert all(p[-1]["role"] == "user" for p in prompts)
    right = [c[-1]["content"] == s for c, s in zip(completions, solution, strict=True)]
    return [d * float(r) for d, r in zip(difficulty, right, strict=True)]


def maths_only(prompts, completions, task, **kwargs):
    """Multi-task training: None where the reward does not apply."""
    return [
        float(c == "4") if t == "maths" else None for c, t in zip(completions, task, strict=True)
    ]


async def slow_service(prompts, completions, **kwargs):
    """Asynchronous."""

    async def one(text):
        await asyncio.sleep(0)
        return float("yes" in text)

    return list(await asyncio.gather(*(one(text) for text in completions)))


def logs(completions, log_metric=None, log_extra=None, **kwargs):
    """Logs through the trainer."""
    log_metric("share", 0.5)
    log_extra("text", completions)
    return [1.0] * len(completions)


def without_kwargs(completions, answer):
    return [float(a in c) for c, a in zip(completions, answer, strict=True)]


def needs_state(completions, trainer_state):
    return [0.0]


def too_few(completions, **kwargs):
    return [1.0]


def says_nan(completions, **kwargs):
    return [float("nan")] * len(completions)


def says_text(completions, **kwargs):
    return ["good"] * len(completions)


def raises(completions, **kwargs):
    raise KeyError("no such drug")


def positional_only(completions, /):
    return [0.0]


class AClass:
    pass
