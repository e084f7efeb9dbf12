"""Reward functions in verl's form: `compute_score(data_source, solution_str, ground_truth, extra_info)`, also `async`.

It returns a number, or a dict with a number as `score`. Source: verl, "Implement Reward Function for Dataset".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medray.errors import ConfigError
from medray.rewards.brought import Brought, BroughtOptions, finite
from medray.types import GroupScore, Prompt, Record, Response

_ARGUMENTS = ("data_source", "solution_str", "ground_truth", "extra_info")


class VerlOptions(BroughtOptions):
    """Which values of the returned dict are logged."""

    parts: tuple[str, ...] = ()
    """Keys of the returned dict, next to `score`, that are reported as parts."""


class VerlReward:
    """Calls the function once per response, a coroutine function for all of a group concurrently.

    `data_source` is the record's task (a verl row's own data source) or source, `ground_truth` the answer, or the
    row's own ground truth where it has several fields, and `extra_info` what the row has, with the record's `id`.
    """

    Options = VerlOptions

    def __init__(self, path: str, options: VerlOptions, key: str) -> None:
        """Import the function.

        Raises:
            ConfigError: it is missing, is not a function, or needs an argument that verl does not pass.
        """
        self.options = options
        self.parts = options.parts
        self.brought = Brought(path, key, options.arguments)
        if unknown := sorted(self.brought.needed - set(_ARGUMENTS)):
            raise ConfigError(
                f"{key}={path} needs {unknown[0]}, but verl passes {', '.join(_ARGUMENTS)}:"
                f" set options.arguments.{unknown[0]}"
            )
        self.low, self.high = options.bounds_of(self.brought.function)

    def score(self, prompt: Prompt, responses: Sequence[Response]) -> GroupScore:
        """What the function returns for each response.

        Raises:
            TypeError: it returned something else than a finite number, or a dict without `score` or a named part.
        """
        row = _row_of(prompt.record)
        calls = [self.brought.taken({**row, "solution_str": r.text}) for r in responses]
        given = [_as_dict(value) for value in self.brought.call(calls)]
        columns = {name: self._column(given, name) for name in ("score", *self.parts)}
        return GroupScore(columns["score"], {part: columns[part] for part in self.parts})

    def _column(self, given: Sequence[Mapping[str, Any]], name: str) -> tuple[float, ...]:
        for one in given:
            if name not in one:
                raise TypeError(
                    f"the returned dict has no {name!r}, but {', '.join(map(str, one))}"
                )
        return tuple(finite(one[name], f"{name} of response {i}") for i, one in enumerate(given))


def _row_of(record: Record) -> dict[str, Any]:
    extra = dict(record.extra)
    truth = extra.pop("ground_truth", record.answer)
    own = extra.pop("extra_info", None)
    info = extra | (dict(own) if isinstance(own, Mapping) else {}) | {"id": record.id}
    source = record.task or record.source
    return {"data_source": source, "ground_truth": truth, "extra_info": info}


def _as_dict(value: Any) -> Mapping[str, Any]:
    """verl's managers take a number, a dict with `score`, or a tuple that begins with the number."""
    if isinstance(value, Mapping):
        return value
    return {"score": value[0] if isinstance(value, tuple) and value else value}
