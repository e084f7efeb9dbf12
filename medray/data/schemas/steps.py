"""Solutions whose steps are labelled, for process reward models.

`{"question", "steps": [{"text", "rating"}]}` (ratings -1, 0 and 1), `{"question", "steps": [text], "values": [0.9,
0.2]}` (the value of each step in [0, 1], as MedS3 estimates them), TRL's stepwise supervision `{"prompt",
"completions", "labels"}`, and ProcessBench's `{"problem", "steps", "label"}`, where the label is the number of the
first wrong step, or -1. A step without a label is context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import Fields, check_text, finite_number, kind_of
from medray.data.parsing.roles import by_role, is_blank, normal
from medray.data.parsing.view import View
from medray.data.schema import RowSchema
from medray.data.schemas.prompt_completion import ASKED
from medray.data.schemas.sharegpt import chat_record, right_answer
from medray.data.source import RowError
from medray.types import Message, Record, Step

_STEPS = ("steps", "completions", "solutionsteps", "reasoningsteps")
_TEXTS = ("text", "content", "step", "completion")
_LABELS = (
    "label", "labels", "rating", "ratings", "value", "values", "qvalue", "qvalues", "score", "scores", "reward",
    "rewards", "steplabels", "correctness", "correct", "iscorrect",
)  # fmt: skip
_RATINGS = ("rating", "ratings")
_WORDS = {
    "+": 1.0, "true": 1.0, "correct": 1.0, "good": 1.0, "positive": 1.0, "right": 1.0, "neutral": 1.0,
    "-": 0.0, "false": 0.0, "incorrect": 0.0, "bad": 0.0, "negative": 0.0, "wrong": 0.0,
}  # fmt: skip


def parse_steps(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """A prompt and the steps of one solution, each with its label where it has one."""
    view = View(row)
    name = _steps_column(row)
    given: Sequence[Any] = row[name]
    texts = [_text_of(step, f"{name}[{i}]") for i, step in enumerate(given)]
    labels = _labels(row, name, given)
    steps = [labelled_step(text, label) for text, label in zip(texts, labels, strict=True)]
    return solution_record(row, where, view.prompt(config), steps, answer=right_answer(row))


def solution_record(
    row: dict[str, Any],
    where: str,
    prompt: tuple[Message, ...],
    steps: Sequence[Step],
    answer: str = "",
) -> Record:
    """A record of one solution.

    Raises:
        RowError: the prompt is answered already, or no step has a label.
    """
    if not prompt or prompt[-1]["role"] in ("assistant", "system"):
        raise RowError("answered prompt", "the prompt must end with the user's or a tool's turn")
    if not any("label" in step for step in steps):
        raise RowError("no label", "no step has a label; label one or remove the row")
    record = chat_record(row, where, prompt, task="process")
    return replace(record, steps=tuple(steps), answer=answer)


def labelled_step(text: str, label: float | None) -> Step:
    """A step; without a label for None."""
    return {"content": text} if label is None else {"content": text, "label": label}


def step_label(value: Any, name: str, *, is_rating: bool = False) -> float | None:
    """The probability that a step is right, from what a dataset says of it; None for null.

    Args:
        value: true or false, a word, + or -, or a number.
        name: of the field, for messages.
        is_rating: numbers are -1, 0 or 1; a neutral step (0) counts as right, as in arXiv:2305.20050. Other numbers lie
            in [0, 1].

    Raises:
        RowError: it is none of these.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and (word := value.strip().lower()) in _WORDS:
        return _WORDS[word]
    number = finite_number(value, name)
    if is_rating and number in (-1, 0, 1):
        return float(number >= 0)
    if is_rating or not 0 <= number <= 1:
        wanted = "-1, 0 or 1" if is_rating else "a number from 0 to 1, true, false, + or -"
        raise RowError("unknown label", f"{name!r} is {number:g}; write {wanted}, or null")
    return number


def _labels(row: Fields, name: str, steps: Sequence[Any]) -> list[float | None]:
    """The label of each step: in it, in a list beside it, or told by the first wrong step."""
    if any(isinstance(step, dict) for step in steps):
        return [_own_label(step, f"{name}[{i}]") for i, step in enumerate(steps)]
    column = _labels_column(row)
    given = row[column]
    if not isinstance(given, list):
        return _up_to_first_error(given, column, len(steps))
    if len(given) != len(steps):
        raise RowError(
            "lengths differ", f"{name!r} has {len(steps)} steps and {column!r} {len(given)} labels"
        )
    is_rating = normal(column) in _RATINGS
    return [
        step_label(value, f"{column}[{i}]", is_rating=is_rating) for i, value in enumerate(given)
    ]


def _own_label(step: Any, name: str) -> float | None:
    if not isinstance(step, dict):
        return None
    found = [key for key in step if normal(key) in _LABELS and step[key] is not None]
    if len(found) > 1:
        raise RowError("ambiguous fields", f"{name!r} has {found[0]!r} and {found[1]!r}; keep one")
    if not found:
        return None
    [key] = found
    return step_label(step[key], f"{name}.{key}", is_rating=normal(key) in _RATINGS)


def _up_to_first_error(value: Any, name: str, num_steps: int) -> list[float | None]:
    """Labels from the number of the first wrong step, counted from 0; what follows it is not labelled."""
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value < num_steps:
        raise RowError(
            "unknown label",
            f"{name!r} is {str(value)[:40]!r}; write the number of the first wrong step, counted from 0, or -1",
        )
    if value < 0:
        return [1.0] * num_steps
    return [1.0] * value + [0.0] + [None] * (num_steps - value - 1)


def _text_of(step: Any, name: str) -> str:
    if not isinstance(step, dict):
        return check_text(step, name)
    for key, value in step.items():
        if normal(key) in _TEXTS:
            return check_text(value, f"{name}.{key}")
    raise RowError("missing key", f"{name!r} is {kind_of(step)} without 'text'; add it")


def _steps_column(row: Fields) -> str:
    for key, value in row.items():
        if _is_steps(key, value):
            return key
    raise RowError("missing key", "no 'steps' with a list of them; add it or rename one")


def _is_steps(key: str, value: Any) -> bool:
    return normal(key) in _STEPS and isinstance(value, list) and not is_blank(value)


def _labels_column(row: Fields) -> str:
    found = _label_columns(row)
    if len(found) != 1:
        detail = "no 'labels' of the steps" if not found else f"{found[0]!r} and {found[1]!r}"
        raise RowError("unknown label", f"{detail}; name one list of labels")
    return found[0]


def _label_columns(row: Fields) -> list[str]:
    return [key for key in row if normal(key) in _LABELS and row[key] is not None]


def _matches(row: Fields) -> bool:
    name = next((key for key, value in row.items() if _is_steps(key, value)), None)
    if name is None or not by_role(row).keys() & {"question", "input", "messages"}:
        return False
    steps = row[name]
    if all(isinstance(step, dict) for step in steps):
        keys = {normal(key) for step in steps for key in step}
        return normal(name) == "steps" and bool(keys & {*_LABELS}) and bool(keys & {*_TEXTS})
    labels = _label_columns(row)
    if len(labels) != 1 or not all(isinstance(step, str) for step in steps):
        return False
    value = row[labels[0]]
    is_index = isinstance(value, int) and not isinstance(value, bool)
    if normal(name) == "completions":
        return isinstance(value, list) and normal(labels[0]) == "labels"
    return isinstance(value, list) or (is_index and normal(labels[0]) == "label")


SCHEMA = RowSchema(
    name="steps",
    summary="solutions with labelled steps (TRL's stepwise supervision, ProcessBench, MedS3-like values)",
    stages=("process", "rl"),
    matches=_matches,
    parse=parse_steps,
    reads=ASKED
    | {"messages", "answers", "label", "scores", "answer", "truth", "solution", "tools"},
)
