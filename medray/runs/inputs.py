"""The models and datasets that settings name, looked for before torch, Ray, vLLM and transformers are imported.

A wrong path then costs less than a second. What files hold is checked where they are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from pydantic import BaseModel

from medray.config.base import Section
from medray.config.data import DataConfig, FileConfig
from medray.config.evaluate import EvaluatedModel, EvaluateJob
from medray.config.generate import GenerateJob
from medray.config.model import ModelConfig
from medray.config.parts import is_own
from medray.config.quantise import QuantiseJob, QuestionData
from medray.config.reward import MODEL, RewardConfig
from medray.config.serve import ServeApp
from medray.config.supervised import SupervisedJob
from medray.data.files.find import find_files
from medray.data.loading.raw_rows import open_raw_rows
from medray.data.prepared.manifest import is_prepared
from medray.errors import DataError
from medray.models.adapters.chain import adapter_chain
from medray.models.fetching.hub import require_on_hub
from medray.models.quantisation.tools import require_tools
from medray.models.served import resolve
from medray.storage.writable import require_writable


def require_inputs(job: Section) -> None:
    """Check that every model and every dataset of `job` is there, and that its results can be written.

    Raises:
        ConfigError: `out` or `output` cannot be written.
        ModelError: a model is missing, the text names its key; or quantisation lacks a tool.
        DataError: a file, a folder or a pattern matches nothing; the text names its key.
    """
    for key in ("out", "output"):
        if (path := getattr(job, key, None)) is not None:
            require_writable(path, key)
    require_models(job)
    if isinstance(job, GenerateJob):
        with _named("input"):
            find_files(FileConfig(path=job.input))
    for key, section in sections(job):
        if isinstance(section, DataConfig) and not (
            isinstance(job, SupervisedJob) and is_prepared(section.path)
        ):
            require_rows(section, key)
    if isinstance(job, QuantiseJob):
        require_tools(job)


def require_models(job: Section) -> None:
    """Check that every model of `job` is there.

    Raises:
        ModelError: one is missing; the text names its key.
    """
    for key, path, revision in model_paths(job):
        require_model(path, key, revision)


def require_model(path: str, key: str, revision: str | None = None) -> None:
    """Check that a model, and the bases of an adapter, are there.

    Args:
        path: as `model.path`.
        key: the setting or option that errors name.
        revision: of a hub id; None takes its default branch.

    Raises:
        ModelError: one is missing.
    """
    weights = adapter_chain(path, key).weights
    if isinstance(weights, str):
        require_on_hub(weights, key, revision)


def require_served(app: ServeApp) -> None:
    """Check that every model and adapter that is to be served is there.

    Raises:
        ModelError: one is missing, or of a kind that cannot be served.
        ConfigError: two models have one name.
    """
    for number, model in enumerate(resolve(app)):
        if not Path(model.source).is_dir():
            require_on_hub(model.source, f"models.{number}.path")


def require_rows(data: DataConfig, key: str = "data") -> None:
    """Check that the files of a dataset and of its sources are there; ids of the hub are not looked up.

    Args:
        data: the dataset.
        key: its place in the settings, which errors name.

    Raises:
        DataError: nothing is there.
    """
    if isinstance(data, QuestionData) and data.num_eval == 0:
        return
    parts: dict[str, FileConfig] = {f"{key}.path": data}
    parts |= {f"{key}.sources.{i}.path": source for i, source in enumerate(data.sources)}
    if data.eval_path is not None:
        changes = {"path": data.eval_path, "sources": ()}
        parts[f"{key}.eval_path"] = data.model_copy(update=changes)
    for place, part in parts.items():
        if part.path is not None and not is_own(part.kind):
            with _named(place):
                open_raw_rows(part)


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Have errors about `data.path` name `key` instead."""
    try:
        yield
    except DataError as error:
        raise DataError(str(error).replace("data.path=", f"{key}=")) from None


def model_paths(job: Section) -> Iterator[tuple[str, str, str | None]]:
    """Key, value and hub revision of the settings of `job` that name a model."""
    if isinstance(job, GenerateJob | QuantiseJob):
        yield "model", job.model, None
    for key, section in sections(job):
        if isinstance(section, EvaluatedModel):
            yield f"{key}.path", section.path, None
        elif isinstance(section, RewardConfig) and section.kind == MODEL:
            path = section.options.get("model", {}).get("path")
            if path is not None:
                yield f"{key}.options.model.path", str(path), None
        elif isinstance(section, ModelConfig) and not isinstance(job, EvaluateJob):
            yield f"{key}.path", section.path, section.revision
            for name in ("adapter", "tokenizer"):
                if (path := getattr(section, name)) is not None:
                    yield f"{key}.{name}", path, None


def sections(value: object, key: str = "") -> Iterator[tuple[str, Section]]:
    """Every section in `value`, at any depth, and its place."""
    if isinstance(value, Section) and key:
        yield key, value
    items: Iterator[tuple[str, object]] = iter(())
    if isinstance(value, BaseModel):
        items = ((name, getattr(value, name)) for name in type(value).model_fields)
    elif isinstance(value, tuple):
        items = ((str(i), item) for i, item in enumerate(cast("tuple[object, ...]", value)))
    for name, item in items:
        yield from sections(item, f"{key}.{name}" if key else name)
