"""What the supervised jobs share: PT, SFT, RM, PRM, DPO, ORPO and KTO."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from medray.config.base import MayBeBlank, Section, Seed
from medray.config.data import DataConfig
from medray.config.device_defaults import with_device_defaults
from medray.config.learner import LearnerConfig, check_strategy
from medray.config.model import ModelConfig
from medray.config.optim import OptimConfig
from medray.config.run import CheckpointConfig, LoggingConfig
from medray.config.workers import SupervisedWorkers


def check_separator(value: str) -> str:
    """Refuse a separator that stands between words.

    Raises:
        ValueError: it has neither a line break nor visible text.
    """
    if not value.strip(" \t"):
        raise ValueError(f"{value!r} stands between words: write a line break or visible text")
    return value


StepSeparator = Annotated[str, MayBeBlank(), AfterValidator(check_separator)]
"""Text between the steps of an answer."""


class ChatConfig(Section):
    """How a dialogue is rendered and tokenized."""

    tool_format: Literal["default", "glm4", "llama3", "mistral", "qwen", "native"] | None = None
    """How tools are rendered (default, glm4, llama3, mistral, qwen, native); None uses the template's format."""
    variables: dict[str, Any] = Field(default_factory=dict)
    """Variables of the chat template, such as {enable_thinking: false}."""
    max_tokens: int = Field(default=2048, ge=8)
    """Maximum length of prompt and continuation together, tokens."""
    on_long: Literal["truncate", "drop"] = "truncate"
    """What happens to longer dialogues in SFT: truncate drops the oldest exchanges first, then the end of the last
    answer; drop drops the row. Longer pairs, labelled responses and solutions are always dropped. All are counted and
    reported."""
    step_separator: StepSeparator = "\n\n"
    """Process reward models: text between the steps of an answer. Within a step it is replaced by a line break or a
    space."""


class BatchConfig(Section):
    """Size of an optimizer step, and number of steps."""

    rows_per_step: int = Field(default=16, ge=1)
    """Dialogues, pairs, labelled responses or text blocks per optimizer step, over all workers."""
    num_epochs: float = Field(default=1.0, gt=0)
    """Passes over the training rows; the last step takes the remaining rows, which may be fewer."""
    num_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; None runs `num_epochs` passes. Required for streams of unknown length."""
    shuffle: bool = True
    """Shuffle the rows in every epoch, seeded by the job's seed."""


class SelectionConfig(Section):
    """Best checkpoint and early stopping, by a held-out metric."""

    metric: str = "loss/total"
    """Evaluation metric to compare checkpoints by."""
    goal: Literal["min", "max"] = "min"
    """Whether lower or higher is better."""
    keep_best: bool = True
    """Keep the best checkpoint in addition to the newest ones."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many evaluations without improvement; None never stops early."""
    min_change: float = Field(default=0.0, ge=0)
    """Smallest change of the metric that counts as an improvement."""


class SupervisedCheckpoint(CheckpointConfig):
    """How often checkpoints are written, and how many are kept."""

    every: int = Field(default=100, ge=1)
    """Steps between checkpoints; the last step always writes one."""


class SupervisedEvaluation(Section):
    """Evaluation on held-out rows."""

    every: int = Field(default=50, ge=1)
    """Steps between evaluations; there is always one before the first step and one after the last."""
    num_rows: int = Field(default=128, ge=0)
    """Held-out rows used; 0 turns evaluation off."""


class SupervisedJob(Section):
    """Keys that all supervised jobs share."""

    out: str = "runs/supervised"
    """Run folder: config, metrics, checkpoints."""
    seed: Seed = 17
    """Seed of the row order, new weights and noise."""
    merge: bool = False
    """At the end, also write the adapter merged into its base to `out`/merged."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    batch: BatchConfig = BatchConfig()
    optim: OptimConfig = OptimConfig()
    learner: LearnerConfig = LearnerConfig()
    workers: SupervisedWorkers = SupervisedWorkers()
    checkpoint: SupervisedCheckpoint = SupervisedCheckpoint()
    evaluation: SupervisedEvaluation = SupervisedEvaluation()
    selection: SelectionConfig = SelectionConfig()
    logging: LoggingConfig = LoggingConfig()

    @model_validator(mode="before")
    @classmethod
    def _device_decides(cls, values: Any) -> Any:
        return with_device_defaults(values, cls)

    @model_validator(mode="after")
    def _shared_keys_agree(self) -> Self:
        self.model.require_trainable("model")
        if self.merge and self.model.lora is None:
            raise ValueError(
                "merge=true needs an adapter, but none is trained: set merge=false or model.lora={}"
            )
        workers = self.workers.learner
        if self.batch.rows_per_step < workers.count:
            raise ValueError(
                f"batch.rows_per_step={self.batch.rows_per_step} is smaller than "
                f"workers.learner.count={workers.count}: raise batch.rows_per_step or lower the count"
            )
        if self.model.device == "cuda" and workers.gpus == 0:
            raise ValueError("model.device=cuda needs workers.learner.gpus > 0")
        check_strategy(self.learner, self.model, workers.count, "workers.learner.count")
        if self.selection.patience is not None and self.evaluation.num_rows == 0:
            raise ValueError(
                "selection.patience needs held-out rows: set evaluation.num_rows above 0"
            )
        return self


def reference_kind(
    job: Any, *, prepared: bool = False
) -> Literal["adapter_off", "separate", "precomputed"] | None:
    """Where a supervised job's reference log-probabilities come from; None for a loss that reads none.

    Args:
        job: with its `loss`.
        prepared: its rows are a prepared folder, which may be long and still grow.
    """
    if not getattr(job.loss, "needs_reference", False):
        return None
    if job.loss.reference != "auto":
        return job.loss.reference
    if job.model.lora is not None:
        return "adapter_off"
    return "separate" if prepared else "precomputed"


def require_reference(reference: str, model: ModelConfig) -> None:
    """Refuse a reference policy that the model settings cannot give.

    Raises:
        ValueError: names the key and what to set.
    """
    if reference == "adapter_off" and model.lora is None:
        raise ValueError(
            "loss.reference=adapter_off needs an adapter: set model.lora={}, or loss.reference=precomputed"
        )
    if reference in ("auto", "adapter_off") and model.adapter is not None:
        raise ValueError(
            "with model.adapter, the base without the adapter is not the policy that training starts from: put the "
            "adapter's folder in model.path instead, or set loss.reference=precomputed"
        )
