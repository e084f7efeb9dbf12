"""A row as a stage trains on it, for the `medray data` commands that show it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from medray.errors import ConfigError, DataError

if TYPE_CHECKING:
    from medray.config.prepare import PrepareJob
    from medray.data.loading.stages import Stage
    from medray.types import PromptTree, Record

_STAGES = ("process", "preference", "kto", "sft", "pt")
"""In which order stages are tried when none is named."""


def first_stage(record: Record) -> Stage:
    """The first stage of `_STAGES` that the record can train.

    Raises:
        DataError: there is none.
    """
    from medray.data.loading.stages import fits

    for name in cast("tuple[Stage, ...]", _STAGES):
        if fits(record, name):
            return name
    raise DataError(f"{record.id}: it has nothing to train on with {', '.join(_STAGES)}")


def render_job(stage: str, model: str, settings: list[str] | None) -> PrepareJob:
    """The settings under which rows of `stage` become tokens.

    Raises:
        ConfigError: the stage trains no tokens of the data, or a setting is wrong.
    """
    from medray.config.loader import load_config
    from medray.config.prepare import PrepareJob

    if stage == "rl":
        raise ConfigError("--stage rl has no trained tokens before there are rollouts: use sft")
    given = [f"stage={stage}", f"model.path='{model}'"]
    return load_config(PrepareJob, None, [*given, *(settings or ())])


def trees_of(
    record: Record, stage: Stage, job: PrepareJob, tokenizer: Any, where: str
) -> Iterator[PromptTree]:
    """The record as `stage` trains it.

    Raises:
        DataError: it cannot be trained on; names `where`.
    """
    from medray.data.batches.examples import build_examples
    from medray.data.loading.stages import for_stage
    from medray.data.source import BadRow, RowError

    try:
        examples = list(build_examples(stage, job, tokenizer)(for_stage(record, stage)))
    except RowError as error:
        raise DataError(str(BadRow(where, error.reason, error.detail))) from None
    for example in examples:
        yield example.tree
