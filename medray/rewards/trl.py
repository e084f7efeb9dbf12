"""Reward functions in TRL's form: `f(prompts, completions, **columns) -> list[float | None]`, also `async`.

Source: TRL, "Using a custom reward function" of the GRPO trainer's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from medray.errors import ConfigError, GraderError
from medray.observability.logging import get_logger
from medray.rewards.brought import Brought, BroughtOptions, finite
from medray.types import GroupScore, Message, Prompt, Record, Response

_logger = get_logger(__name__)
_COLUMNS = ("id", "answer", "options", "task", "lang", "source", "licence", "group_id")
_GOLD = ("solution", "ground_truth")
"""Names that TRL's data sets give the gold answer: columns too, unless the row has its own."""
_TRAINER_ONLY = ("trainer_state", "environments")


class TrlOptions(BroughtOptions):
    """Form of the prompts and completions, and names of the columns."""

    conversational: bool = True
    """Pass prompts and completions as lists of messages; false passes texts."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Name that the function uses -> field of the record, or key of its `extra`."""


class TrlReward:
    """Calls the function once per group; `scored` is 0 where it returned None, which adds nothing to the sum."""

    Options = TrlOptions
    parts = ("scored",)

    def __init__(self, path: str, options: TrlOptions, key: str) -> None:
        """Import the function.

        Raises:
            ConfigError: it is missing, is not a function, or needs what only TRL's trainer has.
        """
        self.options = options
        self.brought = Brought(path, key, options.arguments)
        for name in _TRAINER_ONLY:
            if name in self.brought.needed:
                raise ConfigError(f"{key}={path} needs {name}, which only TRL's trainer has")
        low, high = options.bounds_of(self.brought.function)
        self.low, self.high = min(low, 0.0), max(high, 0.0)  # None adds 0

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """What the function returns for a group of responses.

        Raises:
            GraderError: a column that it needs is missing from the record.
            TypeError: it returned something else than one number or None per response.
        """
        offered = self._offered(prompt, responses)
        if missing := sorted(self.brought.needed - set(offered)):
            raise GraderError(
                f"{self.brought.name} needs the column {missing[0]!r}, but the columns are"
                f" {', '.join(sorted(offered))}: set options.columns, e.g. {{{missing[0]}: answer}}"
            )
        [given] = self.brought.call([self.brought.taken(offered)])
        values = list(given) if given is not None else []
        if len(values) != len(responses):
            raise TypeError(f"it returned {len(values)} values for {len(responses)} completions")
        scores = tuple(0.0 if v is None else finite(v, f"value {i}") for i, v in enumerate(values))
        return GroupScore(scores, {"scored": tuple(float(v is not None) for v in values)})

    def _offered(self, prompt: Prompt, responses: Sequence[Response]) -> dict[str, Any]:
        record, count = prompt.record, len(responses)
        own = columns_of(record, self.options.columns)
        if self.options.conversational:
            asked: Any = [dict(message) for message in record.messages]
            completions: list[Any] = [[dict(m) for m in _turns(r)] for r in responses]
        else:
            asked = "\n\n".join(message["content"] for message in record.messages)
            completions = [response.text for response in responses]
        return {
            **{name: [value] * count for name, value in own.items()},
            "prompts": [asked] * count,
            "completions": completions,
            "completion_ids": [response.token_ids.tolist() for response in responses],
            "log_metric": _log,
            "log_extra": _log,
        }


def columns_of(record: Record, names: Mapping[str, str]) -> dict[str, Any]:
    """A record as a row of a data set: its fields, the keys of `extra`, and the user's further names for them.

    Raises:
        GraderError: a name stands for a column that the record lacks.
    """
    found: dict[str, Any] = dict.fromkeys(_GOLD, record.answer)
    found |= {name: getattr(record, name) for name in _COLUMNS}
    found |= dict(record.extra)
    for name, column in names.items():
        if column not in found:
            raise GraderError(
                f"options.columns.{name}={column}: record {record.id} has no such column, but"
                f" {', '.join(sorted(found))}"
            )
        found[name] = found[column]
    return found


def _turns(response: Response) -> tuple[Message, ...]:
    return response.dialogue or ({"role": "assistant", "content": response.text},)


def _log(name: str, value: Any) -> None:
    """Stands in for `log_metric` and `log_extra`: names cannot be declared, and values may be responses' text."""
    _logger.debug("reward function logged %s, which is not kept", name)
