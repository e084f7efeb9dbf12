"""Which model is trained, and how much of it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medray.config.base import Section


class LoraConfig(Section):
    """Low-rank adapters (arXiv:2106.09685)."""

    rank: int = Field(default=16, ge=1)
    """Rank of every adapter."""
    alpha: float = Field(default=32.0, gt=0)
    """Scale: the adapter's output is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input. RL needs 0: the engine samples without it."""
    targets: Literal["all"] | tuple[str, ...] = "all"
    """Names of the linear modules to adapt; "all" finds every one but the output head."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank) (arXiv:2312.03732)."""
    dora: bool = False
    """Weight-decomposed adapters (arXiv:2402.09353)."""


class ModelConfig(Section):
    """A causal language model and the form it is held in."""

    path: str = "smollm2-135m"
    """A catalogue name (`medray fetch-model --list`), a local directory, or a hub id."""
    revision: str | None = None
    """Hub revision; None takes the default branch."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Dtype of the weights on learner and engine. float32 is the fast one on CPUs without bf16 kernels."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the learner's ranks hold the model."""
    attention: Literal["auto", "tree", "dense"] = "auto"
    """tree shares prompts at no cost; dense does it with a mask, for architectures with attention of their own."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more compute."""
    quantisation: Literal["none", "8bit", "4bit"] = "none"
    """bitsandbytes storage of the frozen base weights; needs `lora`."""
    lora: LoraConfig | None = None
    """Train adapters instead of all the weights."""
    trust_remote_code: bool = False
    """Run Python code that ships with the model. Off unless you have read that code."""

    @model_validator(mode="after")
    def _quantised_base_is_frozen(self) -> Self:
        if self.quantisation != "none" and self.lora is None:
            raise ValueError(
                f"quantisation={self.quantisation} trains adapters only: set model.lora={{}} or quantisation=none"
            )
        return self
