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
    """What the line is called."""
    path: str
    """A catalogue name, a folder, a hub id, or a run folder: its best checkpoint, adapters merged."""
    kind: Literal["policy", "reward"] = "policy"
    """policy answers questions, tells texts and prefers answers by their likelihood; reward scores answers."""


class HeldOut(DataConfig):
    """Rows whose held-out side is used; without a path, made from the ICD-10-CM code list."""

    num_train: int | None = Field(default=1, ge=1)
    """Nothing is trained; a generated kind still makes this many."""


class HeldOutTexts(HeldOut):
    """Held-out texts on which perplexity is measured."""

    kind: str = "icd10-text"
    """Registered schema that pretraining reads (`medray data list`); with a path and no kind, auto."""


class HeldOutPairs(HeldOut):
    """Pairs of a better and a worse answer."""

    kind: str = "icd10-preference"
    """Registered schema with preferences (`medray data list`); with a path and no kind, auto."""


class EvaluateJob(Section):
    """Everything `jobs/evaluate.py` does is said here."""

    out: str = "runs/evaluation"
    """Folder of `table.md`, `evaluation.json` and every answer in `answers.jsonl`."""
    models: tuple[EvaluatedModel, ...] = Field(
        default=(EvaluatedModel(name="base", path="smollm2-135m"),), min_length=1
    )
    """What is evaluated, in the order of the table. Policies share one engine, so they must have one architecture."""
    model: ModelConfig = ModelConfig()
    """The form that every model is held in; its `path` is not used."""
    questions: HeldOut = HeldOut()
    """Multiple choice, answered greedily."""
    texts: HeldOutTexts = HeldOutTexts()
    pairs: HeldOutPairs = HeldOutPairs()
    chat: ChatConfig = ChatConfig()
    max_new_tokens: int = Field(default=8, ge=1)
    """Maximum length of an answer, in tokens."""
    learner: LearnerConfig = LearnerConfig()
    """How rows are cut for the forward passes."""
    engine: EngineConfig = EngineConfig()
    """The engine that answers."""
    workers: EvaluateWorkers = EvaluateWorkers()
    deadline_s: Seconds = 3600
    """Seconds that one model may take."""

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
