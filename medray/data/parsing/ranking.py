"""Several answers to one prompt, ranked: the best and the worst."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from medray.data.parsing.dialogue import parsed_text
from medray.data.parsing.fields import finite_number
from medray.data.parsing.roles import by_role, is_blank, normal, role_of
from medray.data.source import LeftOut, RowError

_SUFFIX = re.compile(r"(.+?)[\s_-]*([abAB]|\d)(?:[\s_-]*(score|rating))?")
_ANSWERS = {
    "response", "answer", "completion", "output", "reply", "conversation", "humanref", "summary", "candidate",
    "generation", "assistant", "modelresponse", "choice",
}  # fmt: skip
_SCORES = {"score", "rating", "overallscore", "reward", "quality"}
_TIES = ("tie", "both", "neither", "same", "equal", "bothbad", "tiebothbad", "draw")
_STRENGTHS = ("preferencestrength", "overallpreference")


class Ranked(NamedTuple):
    """The best and the worst answer, and by how much one is better (0 where the ranking has no scale)."""

    best: Any
    worst: Any
    margin: float


def rank(row: Mapping[str, Any]) -> Ranked:
    """The best and the worst answer of a row.

    Answers stand in a list (with `score`, `rank` or the like in each, or beside them), or in columns that end in a
    letter or number (`response_a`, `answer_0`). The ranking is a number for each, a winner's name, key or number, one
    column for each outcome (`winner_model_a`), or how strongly the second is preferred.

    Raises:
        LeftOut: it is a tie.
        RowError: there is no ranking, or it names no answer.
    """
    answers, scores, has_scale = _listed(row) or _numbered(row) or ([], [], False)
    if not answers:
        raise RowError(
            "no ranking", "a ranking needs two answers and their scores, ranks or a winner"
        )
    best, worst = scores.index(max(scores)), scores.index(min(scores))
    if scores[best] == scores[worst]:
        raise LeftOut("tie", "no answer is better than another")
    return Ranked(answers[best], answers[worst], scores[best] - scores[worst] if has_scale else 0.0)


def numbered_columns(row: Mapping[str, Any]) -> dict[str, str]:
    """Answers in columns that end in a letter or number: its key -> the column; {} for fewer than two."""
    found: dict[str, dict[str, str]] = {}
    for name in row:
        match = _SUFFIX.fullmatch(name)
        if match and not match[3] and normal(match[1]) in _ANSWERS and not is_blank(row[name]):
            found.setdefault(normal(match[1]), {})[match[2].lower()] = name
    several = [keys for keys in found.values() if len(keys) > 1]
    return dict(sorted(several[0].items())) if several else {}


_Scored = tuple[list[Any], list[float], bool]
"""Answers, their scores (higher is better), and whether the scores have a scale."""


def _listed(row: Mapping[str, Any]) -> _Scored | None:
    names = by_role(row).get("answers", [])
    value = parsed_text(row[names[0]]) if names else None
    if not isinstance(value, list) or len(value) < 2:
        return None
    labels = [row[name] for name in by_role(row).get("label", [])]
    if any(isinstance(parsed_text(label), list) for label in labels):
        raise RowError(
            "step labels",
            f"{names[0]!r} has a label for each item: if they are the steps of one answer, rename it to 'steps'",
        )
    items = [_item(item, f"{names[0]}[{i}]") for i, item in enumerate(value)]
    answers, scores = [answer for answer, _ in items], [score for _, score in items]
    given = by_role(row).get("scores")
    if given:
        numbers = parsed_text(row[given[0]])
        if not isinstance(numbers, list) or len(numbers) != len(answers):
            raise RowError(
                "no ranking", f"{given[0]!r} must have one number for each of {names[0]!r}"
            )
        sign = -1.0 if normal(given[0]) == "ranks" else 1.0
        return (
            answers,
            [sign * finite_number(n, f"{given[0]}[{i}]") for i, n in enumerate(numbers)],
            True,
        )
    if all(score is None for score in scores):
        return answers, _by_winner(row, {str(i): "" for i in range(len(answers))}), False
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        raise RowError("no ranking", f"some of {names[0]!r} have no score or rank")
    return answers, known, True


def _item(item: Any, name: str) -> tuple[Any, float | None]:
    """An answer of a list, with the score that stands in it."""
    if not isinstance(item, dict):
        return item, None
    by: dict[str, str] = {}
    for key in item:
        by.setdefault(role_of(key) or normal(key), key)
    answer = next((by[role] for role in ("answer", "text", "messages") if role in by), None)
    if answer is None:
        raise RowError("missing key", f"{name!r} has no text of an answer")
    overall = next(
        (k for k in item if normal(k) in ("overallscore", "finegrainedscore")), by.get("score")
    )
    if overall is not None and item[overall] is not None:
        return item[answer], finite_number(item[overall], f"{name}.{overall}")
    if "rank" in by:
        return item[answer], -finite_number(item[by["rank"]], f"{name}.{by['rank']}")
    return item[answer], None


def _numbered(row: Mapping[str, Any]) -> _Scored | None:
    columns = numbered_columns(row)
    if not columns:
        return None
    answers = [row[name] for name in columns.values()]
    if scores := _column_scores(row, columns) or _strengths(row, columns):
        return answers, scores, True
    return answers, _by_winner(row, columns), False


def _strengths(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[float]:
    """How strongly the second of two is preferred (negative: the first), as HelpSteer has it; [] for no such column."""
    name = next((name for name in row if normal(name) in _STRENGTHS), None)
    if name is None or len(columns) != 2:
        return []
    strength = finite_number(row[name], name)
    return [-strength / 2, strength / 2]


def _column_scores(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[float]:
    """The score columns that go with the answers, in their order; [] for none."""
    found: dict[str, str] = {}
    for name in row:
        match = _SUFFIX.fullmatch(name)
        if match and not is_blank(row[name]) and (normal(match[1]) in _SCORES or match[3]):
            found[match[2].lower()] = name
    if found.keys() < columns.keys() or not found:
        return []
    return [finite_number(row[found[key]], found[key]) for key in columns]


def _by_winner(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[float]:
    """1 for the winner and 0 for the others; all 0 for a tie."""
    keys = list(columns)
    if scores := _outcomes(row, keys):
        return scores
    names = [n for role in ("winner", "label") for n in by_role(row).get(role, [])]
    if not names:
        raise RowError("no ranking", "no field says which answer is better")
    name, value = names[0], row[names[0]]
    text = normal(str(int(value) if isinstance(value, float) and value.is_integer() else value))
    if text in _TIES or text.startswith("tie"):
        return [0.0] * len(keys)
    if normal(name) == "labels" and keys == ["a", "b"] and text in ("0", "1"):
        text = "a" if text == "1" else "b"  # SHP: 1 says that the first is preferred
    named = {normal(n): str(value) for n, value in row.items()}
    models = {normal(named[f"model{key}"]): key for key in keys if f"model{key}" in named}
    for key in keys:
        if text in (key, normal(columns[key]), f"model{key}", f"response{key}", f"assistant{key}"):
            return _won(key, keys)
    if text in models:
        return _won(models[text], keys)
    raise RowError(
        "no ranking", f"{name!r} is {str(value)[:40]!r}, which names none of the answers"
    )


def _outcomes(row: Mapping[str, Any], keys: list[str]) -> list[float]:
    """`winner_model_a`, `winner_model_b`, `winner_tie`: one column for each outcome; [] for none."""
    by = {normal(name): name for name in row}
    columns = [by.get(f"winnermodel{key}") or by.get(f"winner{key}") for key in keys]
    if any(column is None for column in columns):
        return []
    return [finite_number(row[column], column) for column in columns if column is not None]


def _won(winner: str, keys: list[str]) -> list[float]:
    return [1.0 if key == winner else 0.0 for key in keys]
