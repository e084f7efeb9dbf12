"""How a batch is cut for the learner, and what its ranks hold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medray.config.base import Section
from medray.config.model import ModelConfig

StrategyName = Literal["auto", "single", "ddp", "zero1", "zero2", "zero3", "fsdp2"]


class LearnerConfig(Section):
    """How a batch is split into micro-batches and over ranks. Does not change the loss or gradient of a step."""

    row_tokens: int = Field(default=4096, ge=16)
    """Token budget of a packed row (micro-batch); a longer group gets its own row."""
    head_chunk: int = Field(default=1024, ge=1)
    """Number of trained tokens whose logits are in memory at once."""
    strategy: StrategyName = "auto"
    """What is sharded over the ranks: nothing (ddp), optimizer state (zero1), also gradients (zero2), also weights
    (zero3, fsdp2). auto: single for one rank, else ddp. See docs/STRATEGIES.md."""
    offload_optimizer: bool = False
    """Keep the optimizer state in CPU memory and run the optimizer there; needs a zero strategy."""

    @property
    def shards_weights(self) -> bool:
        """True where no rank holds the whole model between passes."""
        return self.strategy in ("zero3", "fsdp2")

    def resolved(self, num_ranks: int) -> StrategyName:
        """The strategy that "auto" stands for."""
        if self.strategy != "auto":
            return self.strategy
        return "single" if num_ranks == 1 else "ddp"


def check_strategy(learner: LearnerConfig, model: ModelConfig, num_ranks: int, key: str) -> None:
    """Refuse a strategy that cannot hold this model on so many ranks.

    Args:
        learner, model: of one trained model.
        num_ranks: how many ranks hold it.
        key: the setting that `num_ranks` comes from.

    Raises:
        ValueError: names the keys and what to set.
    """
    strategy = learner.strategy
    if strategy == "single" and num_ranks > 1:
        raise ValueError(
            f"learner.strategy=single runs on one rank, but {key}={num_ranks}: set learner.strategy=ddp"
        )
    if learner.offload_optimizer and not strategy.startswith("zero"):
        raise ValueError(
            f"learner.offload_optimizer needs ZeRO: set learner.strategy=zero2 instead of {strategy}"
        )
    if learner.shards_weights and model.quantisation != "none":
        raise ValueError(
            f"learner.strategy={strategy} cannot shard quantised weights: set learner.strategy=zero2 or "
            "model.quantisation=none"
        )
