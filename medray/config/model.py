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
    """Scale: the adapter's output is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input. RL needs 0: the engine samples without it."""
    targets: Literal["all"] | tuple[str, ...] = "all"
    """Names of the linear modules to adapt; "all" finds every one but the output head."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank) (arXiv:2312.03732)."""
    dora: bool = False
    """Weight-decomposed adapters (arXiv:2402.09353)."""
    modules_to_save: tuple[str, ...] = ()
    """Modules trained whole beside the adapters and saved with them; "embeddings" means the input embeddings and
    the output head, which a tokenizer with new tokens needs."""

    @field_validator("targets")
    @classmethod
    def _something_is_adapted(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not value:
            raise ValueError("[] adapts nothing: name linear modules, or leave the key out for all")
        return value


class RopeConfig(Section):
    """Scaled rotary position embeddings, for contexts longer than the model was trained on."""

    kind: Literal["linear", "yarn", "llama3"]
    """linear: positions divided by the factor (arXiv:2306.15595); yarn: arXiv:2309.00071; llama3: arXiv:2407.21783.
    Scalings that change with the length of a text are not offered: its loss would depend on its neighbours."""
    factor: float = Field(gt=1)
    """New context length over the original one."""
    original_tokens: int | None = Field(default=None, ge=1)
    """Context length the model was trained on; None takes what its configuration says."""


class ModelConfig(Section):
    """A causal language model and the form it is held in."""

    path: str = "smollm2-135m"
    """A catalogue name (`medray fetch-model --list`), a local directory, or a hub id. The folder of an adapter means
    the model that the adapter and its base make together."""
    revision: str | None = None
    """Hub revision; None takes the default branch."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Dtype of the weights on learner and engine. float32 is the fast one on CPUs without bf16 kernels."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the learner's ranks hold the model."""
    attention: Literal["auto", "tree", "flex", "dense", "plain"] = "auto"
    """tree shares prompts at no cost, a block a prompt; flex as one FlexAttention kernel a layer, for GPUs; dense by a
    mask, for architectures with attention of their own; plain computes each continuation after its own copy of the
    prompt. auto takes the first of tree, dense and plain that is right for the model."""
    rope: RopeConfig | None = None
    """Scale rotary position embeddings to a longer context."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more compute."""
    quantisation: Literal["none", "8bit", "4bit"] = "none"
    """bitsandbytes storage of the frozen base weights; needs `lora`."""
    lora: LoraConfig | None = None
    """Train adapters instead of all the weights."""
    adapter: str | None = None
    """Folder of an adapter to train further; its own rank and targets hold. To build on what an adapter has made of
    its base, with a new adapter or all the weights, name its folder in `path` instead: it is then merged."""
    tokenizer: str | None = None
    """Folder or hub id of another tokenizer, e.g. one with added tokens; None takes the model's own. Tokens that the
    model has no embedding for start from the mean embedding."""
    template: TemplateName | None = None
    """Chat template by name, written into the checkpoints' tokenizer too; None takes the tokenizer's own."""
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
