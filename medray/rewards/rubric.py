"""Answers graded by a judge against the criteria of a rubric.

`healthbench`: every criterion is judged on its own; the score is the points of the met criteria over the sum of the
positive points (HealthBench, arXiv:2505.08775). `explicit`: the same verdicts, weights normalised and clipped to [0, 1]
(RaR-Explicit, arXiv:2507.17746, eq. 1). `implicit`: the judge sees the whole rubric and gives one grade from 1 to 10
(RaR-Implicit, eq. 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic import BaseModel, Field

from medray.config.base import Section
from medray.config.judges import JudgeConfig
from medray.errors import GraderError
from medray.rewards.judges.client import Question, judge_of, log_provenance, template_hash
from medray.thoughts import visible_text
from medray.types import GroupScore, Message, Prompt, Record, Response

CRITERION_TEMPLATE = """\
Read the conversation above. Its last turn is the answer of an assistant.

Decide whether that answer meets the following criterion. Judge nothing else. A criterion may describe \
something bad: it is met when the answer does that bad thing. If the criterion has several requirements, all must \
hold; examples after "such as" or "for example" need not all appear.

Criterion: {criterion}

Answer with a JSON object: {{"explanation": "one sentence", "met": true or false}}"""
IMPLICIT_TEMPLATE = """\
Read the conversation above. Its last turn is the answer of an assistant.

Grade that answer as a whole by this rubric. Each criterion has points; negative points are for what must not happen.

{rubric}

Answer with a JSON object: {{"explanation": "one sentence", "grade": a whole number from 1 (worst) to 10 (best)}}"""


class CriterionVerdict(BaseModel):
    """Whether one criterion is met."""

    met: bool
    explanation: str = ""


class Grade(BaseModel):
    """A grade of the whole answer."""

    grade: int = Field(ge=1, le=10)
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One line of a rubric; negative points are for what must not happen."""

    text: str
    points: float
    tags: tuple[str, ...] = ()


class RubricOptions(Section):
    """The judge, and how its verdicts become a score."""

    judge: JudgeConfig
    """The name of one of `judges`, or a judge's own settings."""
    form: Literal["healthbench", "explicit", "implicit"] = "healthbench"
    """How criteria become a score."""
    clip: bool = False
    """Cut HealthBench's scores of single answers to [0, 1]; its own evaluation cuts only their mean."""
    tags: tuple[str, ...] = ()
    """Tags whose criteria are also scored by themselves, as parts."""


class RubricReward:
    """The points of a rubric that a judge gives; parts `met` (share of the criteria), `penalty`, and one per tag.

    `penalty` is the sum of the negative points incurred over the positive points possible.
    """

    Options = RubricOptions

    def __init__(self, options: RubricOptions) -> None:
        self.options = options
        self.judge = judge_of(options.judge)
        tags = tuple(part_of(tag) for tag in options.tags)
        self.parts = () if options.form == "implicit" else ("met", "penalty", *tags)
        self.low = -100.0 if options.form == "healthbench" and not options.clip else 0.0
        self.high = 1.0
        used = IMPLICIT_TEMPLATE if options.form == "implicit" else CRITERION_TEMPLATE
        self.templates = {options.form: template_hash(used)}

    def load(self) -> None:
        """Log which judge grades, with which template and sampling."""
        log_provenance("rubric", self.judge, self.templates)

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """The score of each response.

        Raises:
            GraderError: the record has no rubric, or none with positive points.
            JudgeFailed: a verdict is missing.
        """
        rubric = rubric_of(prompt.record)
        if self.options.form == "implicit":
            return self._implicit(prompt.record, rubric, responses)
        questions = [
            self._question(
                CRITERION_TEMPLATE.format(criterion=item.text),
                prompt.record,
                response,
                CriterionVerdict,
            )
            for response in responses
            for item in rubric
        ]
        verdicts = self.judge.ask(questions)
        met = [
            [verdict.met for verdict in verdicts[i : i + len(rubric)]]
            for i in range(0, len(verdicts), len(rubric))
        ]
        return self._composed(rubric, met)

    def _composed(self, rubric: Sequence[Criterion], met: Sequence[Sequence[bool]]) -> GroupScore:
        scores = [rubric_score(rubric, one) for one in met]
        if self.options.form == "explicit" or self.options.clip:
            scores = [min(max(score, 0.0), 1.0) for score in scores]
        parts = {
            "met": tuple(sum(one) / len(one) for one in met),
            "penalty": tuple(penalty(rubric, one) for one in met),
        }
        for tag in self.options.tags:
            parts[part_of(tag)] = tuple(tag_score(rubric, one, tag) or 0.0 for one in met)
        return GroupScore(tuple(scores), parts)

    def _implicit(
        self, record: Record, rubric: Sequence[Criterion], responses: Sequence[Response]
    ) -> GroupScore:
        listed = "\n".join(f"- [{item.points:+g}] {item.text}" for item in rubric)
        asked = IMPLICIT_TEMPLATE.format(rubric=listed)
        grades = self.judge.ask([self._question(asked, record, r, Grade) for r in responses])
        return GroupScore(tuple((verdict.grade - 1) / 9 for verdict in grades))

    def _question(self, asked: str, record: Record, response: Response, form: Any) -> Question[Any]:
        """The conversation first, so that a judge with a prefix cache reads it once for all criteria."""
        said = conversation(record, response)
        messages: tuple[Message, ...] = (
            {"role": "user", "content": f"# Conversation\n\n{said}\n\n# Task\n\n{asked}"},
        )
        return Question(messages, form, self.templates[self.options.form])


def conversation(record: Record, response: Response) -> str:
    """The turns as text, the answer last and without its thoughts."""
    answer: tuple[Message, ...] = response.dialogue or (
        {"role": "assistant", "content": response.visible_text},
    )
    turns = (*record.messages, *answer)
    return "\n\n".join(f"{turn['role']}: {visible_text(turn['content']).strip()}" for turn in turns)


def rubric_of(record: Record) -> tuple[Criterion, ...]:
    """The criteria of a record.

    Raises:
        GraderError: it has none, or none with positive points.
    """
    raw = record.extra.get("rubric")
    items = cast("Sequence[Any]", raw) if isinstance(raw, list | tuple) else ()
    try:
        rubric = tuple(
            Criterion(str(item["criterion"]), float(item["points"]), tuple(item.get("tags") or ()))
            for item in cast("Sequence[Mapping[str, Any]]", items)
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise GraderError(
            f"record {record.id}: extra.rubric is not a list of {{criterion, points, tags}}"
        ) from None
    if not any(item.points > 0 for item in rubric):
        raise GraderError(f"record {record.id} has no rubric with positive points (extra.rubric)")
    return rubric


def rubric_score(rubric: Sequence[Criterion], met: Sequence[bool]) -> float:
    """Points of the met criteria, negative ones too, over the sum of the positive points; at most 1."""
    possible = sum(item.points for item in rubric if item.points > 0)
    return sum(item.points for item, is_met in zip(rubric, met, strict=True) if is_met) / possible


def penalty(rubric: Sequence[Criterion], met: Sequence[bool]) -> float:
    """Negative points incurred, as a positive number, over the sum of the positive points."""
    possible = sum(item.points for item in rubric if item.points > 0)
    pairs = zip(rubric, met, strict=True)
    return sum(-item.points for item, is_met in pairs if is_met and item.points < 0) / possible


def tag_score(rubric: Sequence[Criterion], met: Sequence[bool], tag: str) -> float | None:
    """`rubric_score` of the criteria with a tag; None where they have no positive points."""
    pairs = [(item, is_met) for item, is_met in zip(rubric, met, strict=True) if tag in item.tags]
    if not any(item.points > 0 for item, _ in pairs):
        return None
    return rubric_score([item for item, _ in pairs], [is_met for _, is_met in pairs])


def clipped_mean(scores: Sequence[float]) -> float:
    """HealthBench's figure of a model: the mean over its answers, cut to [0, 1]."""
    return min(max(sum(scores) / len(scores), 0.0), 1.0)


def part_of(tag: str) -> str:
    """The name of a tag's part: "axis:accuracy" is `axis_accuracy`."""
    return "".join(char if char.isalnum() else "_" for char in tag)
