"""How responses are sampled."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from medray.config.base import MayBeBlank, Section
from medray.config.environment import EnvironmentConfig

MIN_TEMPERATURE = 0.01
"""vLLM raises lower temperatures to this one, which the ratio of the policy would not know."""
BLOCK_TOKENS, BATCH_TOKENS = 32, 4096  # of engines whose settings name none


VLLM = "vllm"


class EngineConfig(Section):
    """Settings of the inference engines; the same for all rollout workers."""

    kind: str = VLLM
    """vllm, or your own class as `package.module:ClassName`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of your own engine."""
    kv_cache_gb: float = Field(default=1.0, gt=0)
    """KV cache on a CPU engine, GiB."""
    gpu_memory_utilization: float = Field(default=0.85, gt=0, le=1)
    """Share of a GPU's memory for the engine; lower it if the engine is colocated with a learner."""
    max_num_seqs: int = Field(default=64, ge=1)
    """Maximum number of sequences decoded concurrently."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs per engine."""
    enforce_eager: bool = True
    """Skip graph capture and compilation: faster start, slower decoding on GPUs."""
    prefix_caching: bool = True
    """Compute the shared prompt of a group once."""
    block_tokens: int | None = Field(default=None, ge=32, multiple_of=32)
    """Tokens per KV cache block, the granularity of prefix sharing: a multiple of 32. None uses the value that `medray
    tune` found for the job on this machine, else 32 (a server: vLLM's default)."""
    batch_tokens: int | None = Field(default=None, ge=64)
    """Maximum number of tokens per engine step; at least the context length. None uses the value that `medray tune`
    found, else 4096 (a server: vLLM's default)."""

    @property
    def block(self) -> int:
        """Tokens in a block: what is set, else the default."""
        return self.block_tokens or BLOCK_TOKENS

    @property
    def batch(self) -> int:
        """Tokens computed together at most: what is set, else the default."""
        return self.batch_tokens or BATCH_TOKENS


class RolloutConfig(Section):
    """Prompts per step, samples per prompt, and the sampling distribution."""

    prompts_per_step: int = Field(default=8, ge=1)
    """Prompts (groups) per rollout batch."""
    samples_per_prompt: int = Field(default=8, ge=1)
    """Responses per prompt; a group-relative advantage needs at least two."""
    max_new_tokens: int = Field(default=16, ge=1)
    """Maximum length of a response, tokens; longer ones end with finish reason "length"."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature; the learner scores at the same temperature."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Must stay 1 for training (see `SamplingContract`)."""
    top_k: int = Field(default=0, ge=0)
    """Must stay 0 for training."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Must stay 0 for training."""
    max_lag: int | None = Field(default=None, ge=0)
    """Maximum policy lag of asynchronous rollouts, in versions: generation and training run concurrently, and weights
    may change in the middle of a response (0 reproduces synchronous results). None: generation and training
    alternate."""
    stop: Annotated[tuple[str, ...], MayBeBlank()] = ()
    """Strings that end a response, in addition to the model's stop token."""
    environment: EnvironmentConfig | None = None
    """Environment of multi-turn dialogues; None samples single answers."""
    engine: EngineConfig = EngineConfig()
    """Settings of the engine."""

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
