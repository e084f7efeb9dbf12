"""PRM800K as published: `{"question": {"problem", "ground_truth_answer"}, "label": {"steps": [{"completions": [{"text",
"rating"}], "chosen_completion", "human_completion"}]}}`.

Annotators rated several ways to take a step, and went on from one of them. A row becomes the solution that they
followed, and one more for every other rated way: the steps before it as context, and its own label. Source:
arXiv:2305.20050.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.files.data_file import RawRow
from medray.data.parsing.fields import Fields, check_object, check_text, require_list, require_text
from medray.data.parsing.turns import chat
from medray.data.schema import RowSchema
from medray.data.schemas.steps import labelled_step, solution_record, step_label
from medray.data.source import LeftOut, RowError
from medray.types import Record, Step


def parse_solution(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One solution, as `gather_solutions` makes them."""
    question = row["question"]
    answer = str(question.get("ground_truth_answer") or "")
    prompt = chat(user=require_text(question, "problem"))
    return solution_record(row, where, prompt, row["solution"], answer=answer)


def gather_solutions(raw_rows: Iterable[RawRow]) -> Iterator[RawRow]:
    """The solution that the annotators of each row followed, then one for every other way that they rated."""
    for raw in raw_rows:
        if isinstance(raw.fields, RowError):
            yield raw
            continue
        question = raw.fields.get("question")
        try:
            solutions = list(_solutions(raw.fields))
        except RowError as error:
            yield replace(raw, fields=error)
            continue
        if not solutions:
            yield replace(raw, fields=LeftOut("no label", "none of its steps is rated"))
        for number, solution in enumerate(solutions):
            name = f"{raw.id}#{number}" if number else raw.id
            yield replace(raw, id=name, fields={"question": question, "solution": solution})


def _solutions(row: Fields) -> Iterator[list[Step]]:
    followed: list[Step] = []
    others: list[list[Step]] = []
    steps = require_list(check_object(row.get("label"), "label"), "steps")
    for i, given in enumerate(steps):
        step = check_object(given, f"label.steps[{i}]")
        chosen = step.get("chosen_completion")
        context: list[Step] = [{"content": before["content"]} for before in followed]
        taken: Step | None = None
        for j, completion in enumerate(step.get("completions") or ()):
            rated = _rated(completion, f"label.steps[{i}].completions[{j}]")
            if j == chosen:
                taken = rated
            elif "label" in rated:
                others.append([*context, rated])
        if taken is None and step.get("human_completion"):  # written because no way was right
            taken = _rated(step["human_completion"], f"label.steps[{i}].human_completion")
            taken = {"label": 1.0, **taken}
        if taken is None:
            break
        followed.append(taken)
    if any("label" in step for step in followed):
        yield followed
    yield from others


def _rated(completion: Any, name: str) -> Step:
    fields = check_object(completion, name)
    label = step_label(fields.get("rating"), f"{name}.rating", is_rating=True)
    return labelled_step(check_text(fields.get("text"), f"{name}.text"), label)


def _matches(row: Fields) -> bool:
    question, label = row.get("question"), row.get("label")
    return (
        isinstance(question, dict)
        and "problem" in question
        and isinstance(label, dict)
        and isinstance(label.get("steps"), list)
    )


SCHEMA = RowSchema(
    name="prm800k",
    summary="rated steps of solutions, several ways to take each (PRM800K)",
    stages=("process", "rl"),
    matches=_matches,
    parse=parse_solution,
    gather=gather_solutions,
)
