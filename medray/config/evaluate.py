"""The evaluation job: several models on the same held-out rows, in one table."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medray.config.base import Seconds, Section
from medray.config.data import DataConfig
from medray.config.learner import LearnerConfig
from medray.config.model import ModelConfig
from medray.config.rollout import EngineConfig
from medray.config.supervised import ChatConfig
from medray.config.workers import EvaluateWorkers


class EvaluatedModel(Section):
    """One model to evaluate: a row of the comparison table."""

    name: str
    """Name of the row in the table."""
    path: str
    """A catalogue name, a folder, a hub id, or a run folder (its best checkpoint, with adapters merged)."""
    kind: Literal["policy", "reward"] = "policy"
    """policy: answers questions, and scores texts and pairs by likelihood; reward: scores pairs."""


class HeldOut(DataConfig):
    """Held-out rows; without a path, generated from the ICD-10-CM code list."""

    num_train: int | None = Field(default=1, ge=1)
    """Training rows of a generated kind; an evaluation does not use them."""


class HeldOutTexts(HeldOut):
    """Held-out texts on which perplexity is measured."""

    kind: str = "icd10-text"
    """Registered schema that pretraining reads (`medray data list`); with a path and no kind, auto."""


class HeldOutPairs(HeldOut):
    """Pairs of a better and a worse answer."""

    kind: str = "icd10-preference"
    """Registered schema with preferences (`medray data list`); with a path and no kind, auto."""


class EvaluateJob(Section):
    """Configuration of `jobs/evaluate.py`."""

    out: str = "runs/evaluation"
    """Folder of `table.md`, `evaluation.json` and every answer in `answers.jsonl`."""
    models: tuple[EvaluatedModel, ...] = Field(
        default=(EvaluatedModel(name="base", path="smollm2-135m"),), min_length=1
    )
    """Models to evaluate, in table order. Policies share one engine, so they must have the same architecture."""
    model: ModelConfig = ModelConfig()
    """How every model is loaded; `path` is not used."""
    questions: HeldOut = HeldOut()
    """Multiple-choice questions, answered greedily."""
    texts: HeldOutTexts = HeldOutTexts()
    pairs: HeldOutPairs = HeldOutPairs()
    chat: ChatConfig = ChatConfig()
    max_new_tokens: int = Field(default=8, ge=1)
    """Maximum length of an answer, in tokens."""
    learner: LearnerConfig = LearnerConfig()
    """How rows are packed for the forward passes."""
    engine: EngineConfig = EngineConfig()
    """The engine that answers."""
    workers: EvaluateWorkers = EvaluateWorkers()
    deadline_s: Seconds = 3600
    """Deadline per model, seconds."""

    @model_validator(mode="after")
    def _lines_differ(self) -> Self:
        names = [model.name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two entries of models are named {name}: give each its own name")
        if self.model.lora is not None:
            raise ValueError("model.lora has no effect in an evaluation: remove it")
        if self.model.device == "cuda" and self.workers.evaluator.gpus == 0:
            raise ValueError("model.device=cuda needs workers.evaluator.gpus > 0")
        return self
