"""How responses are sampled."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from medray.config.base import MayBeBlank, Section
from medray.config.environment import EnvironmentConfig

MIN_TEMPERATURE = 0.01
"""vLLM raises lower temperatures to this one, which the ratio of the policy would not know."""
BLOCK_TOKENS, BATCH_TOKENS = 32, 4096  # of engines whose settings name none


class EngineConfig(Section):
    """One inference engine, the same for every rollout worker."""

    kind: str = "vllm"
    """vllm, or your own class as `package.module:ClassName`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of your own engine."""
    kv_cache_gb: float = Field(default=1.0, gt=0)
    """KV cache on a CPU engine, GiB."""
    gpu_memory_utilization: float = Field(default=0.85, gt=0, le=1)
    """Share of a GPU's memory the engine may take (lower it when colocated with a learner)."""
    max_num_seqs: int = Field(default=64, ge=1)
    """Sequences decoded together."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs one engine is spread over."""
    enforce_eager: bool = True
    """Skip graph capture and compilation: quicker start, slower decoding on GPUs."""
    prefix_caching: bool = True
    """Compute the prompt that a group shares once."""
    block_tokens: int | None = Field(default=None, ge=32, multiple_of=32)
    """Tokens in a block of the KV cache, the grain of prefix sharing: a multiple of 32. None takes what `medray tune`
    found for the job on this machine, else 32 (a server: vLLM's own)."""
    batch_tokens: int | None = Field(default=None, ge=64)
    """Tokens computed together at most, where the context allows so few. None takes what `medray tune` found, else 4096
    (a server: vLLM's own)."""

    @property
    def block(self) -> int:
        """Tokens in a block: what is set, else the default."""
        return self.block_tokens or BLOCK_TOKENS

    @property
    def batch(self) -> int:
        """Tokens computed together at most: what is set, else the default."""
        return self.batch_tokens or BATCH_TOKENS


class RolloutConfig(Section):
    """Prompts a step, samples a prompt, and the sampling distribution."""

    prompts_per_step: int = Field(default=8, ge=1)
    """Prompts (groups) in a rollout batch."""
    samples_per_prompt: int = Field(default=8, ge=1)
    """Responses a prompt; a group-relative advantage needs at least two."""
    max_new_tokens: int = Field(default=16, ge=1)
    """A response that reaches this many tokens ends with finish reason "length"."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature; the learner scores under the same one."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Must stay 1 for training (see `SamplingContract`)."""
    top_k: int = Field(default=0, ge=0)
    """Must stay 0 for training."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Must stay 0 for training."""
    max_lag: int | None = Field(default=None, ge=0)
    """None: generation and training take turns. A number: they overlap, weights change in the middle of responses, and
    no group that is trained on began more than so many versions before (0 gives the figures of taking turns)."""
    stop: Annotated[tuple[str, ...], MayBeBlank()] = ()
    """Strings that end a response, besides the model's own stop token."""
    environment: EnvironmentConfig | None = None
    """Who answers the policy, for dialogues of several turns; None samples single answers."""
    engine: EngineConfig = EngineConfig()
    """The engine's own settings."""

    @model_validator(mode="after")
    def _ratio_is_unbiased(self) -> Self:
        if self.temperature == 0:
            raise ValueError(
                "temperature=0 makes all responses of a prompt equal: set temperature above 0 (1.0 is usual)"
            )
        if self.temperature < MIN_TEMPERATURE:
            raise ValueError(
                f"temperature={self.temperature:g} is below what vLLM samples at, and the learner would divide by it: "
                f"set rollout.temperature to {MIN_TEMPERATURE} or more"
            )
        for key, neutral in (("top_p", 1.0), ("top_k", 0), ("min_p", 0.0)):
            value = getattr(self, key)
            if value != neutral:
                raise ValueError(
                    f"{key}={value} truncates the sampling distribution, which biases the importance ratio: "
                    f"set {key}={neutral}; for sharper samples set temperature below 1"
                )
        return self
