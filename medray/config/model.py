"""Which model is trained, and how much of it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from medray.config.base import Section

TemplateName = Literal[
    "alpaca", "aquila", "baichuan", "baichuan2", "base", "belle", "chatglm", "chatglm2", "chatglm3", "chatml",
    "cohere", "deepseek", "deepseek3", "deepseekcoder", "intern", "intern2", "linly", "llama2", "llama2-zh",
    "llama3", "mistral", "orion", "phoenix", "qwen", "qwen3", "qwen3_5", "qwen3_5_nothink", "qwen3_nothink",
    "starchat", "vicuna", "xverse", "yi", "ziya",
]  # fmt: skip
"""Chat templates by name (docs/TEMPLATES.md)."""


class LoraConfig(Section):
    """Low-rank adapters (arXiv:2106.09685)."""

    rank: int = Field(default=16, ge=1)
    """Rank of every adapter."""
    alpha: float = Field(default=32.0, gt=0)
    """Scale: the output of the adapter is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the input of the adapter. RL needs 0, because the engine samples without dropout."""
    targets: Literal["all"] | tuple[str, ...] = "all"
    """Names of the linear modules to adapt; "all" adapts every linear module except the output head."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank) (arXiv:2312.03732)."""
    dora: bool = False
    """Weight-decomposed adapters (arXiv:2402.09353)."""
    modules_to_save: tuple[str, ...] = ()
    """Modules trained in full and saved with the adapters; "embeddings" means the input embeddings and the output head,
    which a tokenizer with new tokens needs."""

    @field_validator("targets")
    @classmethod
    def _something_is_adapted(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not value:
            raise ValueError("[] adapts nothing: name linear modules, or leave the key out for all")
        return value


class RopeConfig(Section):
    """Scaled rotary position embeddings, for contexts longer than in the model's training."""

    kind: Literal["linear", "yarn", "llama3"]
    """linear: positions divided by the factor (arXiv:2306.15595); yarn: arXiv:2309.00071; llama3: arXiv:2407.21783.
    Scaling that depends on the sequence length is not supported, because the loss of a text would depend on the other
    texts in its row."""
    factor: float = Field(gt=1)
    """New context length divided by the original one."""
    original_tokens: int | None = Field(default=None, ge=1)
    """Context length in the model's training; None reads it from the model's configuration."""


class ModelConfig(Section):
    """A causal language model, and how it is loaded."""

    path: str = "smollm2-135m"
    """A catalogue name (`medray fetch-model --list`), a local folder, or a hub id. An adapter folder means its base
    with the adapter merged."""
    revision: str | None = None
    """Hub revision; None uses the default branch."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Dtype of the weights on learner and engine. float32 is fastest on CPUs without bf16 instructions."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the learner's ranks."""
    attention: Literal["auto", "tree", "flex", "dense", "plain"] = "auto"
    """How prompts are shared. tree: one block per prompt, without masked work; flex: one FlexAttention kernel per
    layer, for GPUs; dense: a mask, for architectures with their own attention; plain: each continuation with its own
    copy of the prompt. auto uses the first of tree, dense and plain that is correct for the model."""
    rope: RopeConfig | None = None
    """Scale rotary position embeddings to a longer context."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more compute."""
    quantisation: Literal["none", "8bit", "4bit"] = "none"
    """bitsandbytes quantization of the frozen base weights; needs `lora`."""
    lora: LoraConfig | None = None
    """Train adapters instead of all weights."""
    adapter: str | None = None
    """Adapter folder to continue training; its own rank and targets apply. To start a new adapter or full fine-tuning
    from an adapted model, put the adapter folder in `path`: it is then merged."""
    tokenizer: str | None = None
    """Folder or hub id of another tokenizer, such as one with added tokens; None uses the model's own. New tokens start
    from the mean embedding."""
    template: TemplateName | None = None
    """Name of a chat template, also written into the checkpoints' tokenizer; None uses the tokenizer's own."""
    trust_remote_code: bool = False
    """Run Python code that ships with the model. Off unless you have read that code."""

    @property
    def logprob_tolerance(self) -> float:
        """Largest |engine - learner| log-probability (nats) between two correct computations in this dtype."""
        return 1e-3 if self.dtype == "float32" else 0.15

    def require_trainable(self, key: str) -> None:
        """Refuse weights whose gradients would be wrong.

        Args:
            key: the section's place, which errors name.

        Raises:
            ValueError: float16, in which small gradients become zero: medray does not scale losses.
        """
        if self.dtype == "float16":
            raise ValueError(
                f"{key}.dtype=float16 would lose small gradients, and losses are not scaled: set {key}.dtype=bfloat16 "
                "or float32"
            )

    @model_validator(mode="after")
    def _flex_is_for_gpus(self) -> Self:
        if self.attention == "flex" and self.device == "cpu":
            raise ValueError(
                "attention=flex has no backward pass on CPUs: set model.device=cuda, or model.attention=auto"
            )
        return self

    @model_validator(mode="after")
    def _quantised_base_is_frozen(self) -> Self:
        if self.quantisation != "none" and self.lora is None:
            raise ValueError(
                f"quantisation={self.quantisation} supports adapters only: set model.lora={{}} or quantisation=none"
            )
        if self.adapter is not None and self.lora is None:
            raise ValueError(
                "model.adapter continues an adapter: set model.lora={}, or put its folder in model.path to merge it"
            )
        return self
