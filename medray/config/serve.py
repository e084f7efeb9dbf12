"""What is served, to whom, and within which limits."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from medray.config.base import Seconds, Section
from medray.config.rollout import EngineConfig

NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"


class ServedAdapter(Section):
    """A LoRA adapter beside its base; requests choose it by name."""

    path: str
    """Folder of the adapter, or of a run that trained one."""
    name: str | None = Field(default=None, pattern=NAME)
    """Model name in requests; None takes the folder's name."""


class ReplicaConfig(Section):
    """Copies of a model, and what each accepts."""

    min: int = Field(default=1, ge=1)
    """Replicas kept when nobody asks anything."""
    max: int = Field(default=1, ge=1)
    """Replicas under load; more than `min` turns autoscaling on."""
    target_requests: int = Field(default=16, ge=1)
    """Requests in flight a replica that autoscaling aims at."""
    up_after_s: Seconds = 30
    """Seconds of more load than the target before a replica is added."""
    down_after_s: Seconds = 600
    """Seconds of less load before one is taken away; it finishes its streams first."""
    max_requests: int = Field(default=128, ge=1)
    """Requests in flight a replica accepts; vLLM batches them."""
    max_queued: int = Field(default=512, ge=1)
    """Requests that may wait for a replica; beyond it the answer is 503."""
    drain_s: Seconds = 60
    """Seconds a replica that is replaced or stopped may take to finish its streams."""
    surge_percent: int = Field(default=100, ge=0, le=100)
    """Replicas started beyond the target during a rolling update, so that old ones serve until new ones are ready.
    0 needs no extra room: requests then wait while a replica restarts."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max={self.max} is below min={self.min}: raise max or lower min")
        return self


class ServedModel(Section):
    """One base model, its adapters, and the engine that runs them."""

    path: str
    """A catalogue name, a model folder, a hub id, or the folder of a run: its best checkpoint, else its newest."""
    name: str | None = Field(default=None, pattern=NAME)
    """Model name in requests; None takes the folder's name."""
    adapters: tuple[ServedAdapter, ...] = ()
    """LoRA adapters served beside the base."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the engine runs."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: float32 on a CPU, bfloat16 on a GPU and for quantised weights."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Longest prompt and answer together, tokens; None takes the model's own."""
    engine: EngineConfig = EngineConfig()
    """The engine's own settings."""
    pipeline_parallel: int = Field(default=1, ge=1)
    """Stages of layers one engine is spread over, across nodes where one node is too small."""
    cpus: float = Field(default=1.0, gt=0)
    """CPU cores each engine worker reserves."""
    threads: int | None = Field(default=None, ge=1)
    """Compute threads of a CPU engine; None takes all cores of the machine."""
    accelerator: str | None = None
    """GPU type to ask Ray for, e.g. L4, A100 or H100; None takes any."""
    placement: Literal["PACK", "STRICT_PACK", "SPREAD", "STRICT_SPREAD"] = "PACK"
    """How the workers of one engine lie on nodes."""
    replicas: ReplicaConfig = ReplicaConfig()
    """Number of engines and what each accepts."""
    tool_parser: str | None = None
    """How the model writes tool calls (vLLM's name, e.g. hermes, llama3_json, mistral); None serves no tools."""
    reasoning_parser: str | None = None
    """How the model marks its reasoning (vLLM's name, e.g. qwen3, deepseek_r1)."""
    trust_remote_code: bool = False
    """Run Python code that ships with the model. Off unless you have read that code."""

    @model_validator(mode="after")
    def _fits_device(self) -> Self:
        ranks = self.engine.tensor_parallel * self.pipeline_parallel
        if self.device == "cpu" and ranks > 1:
            raise ValueError(
                f"an engine on {ranks} devices needs GPUs: set device=cuda, or engine.tensor_parallel=1 and "
                "pipeline_parallel=1"
            )
        if self.engine.kind != "vllm":
            raise ValueError(f"engine.kind={self.engine.kind}: serving runs on vllm, leave it out")
        if self.device == "cpu" and self.accelerator is not None:
            raise ValueError("accelerator names a GPU type: set device=cuda, or remove accelerator")
        return self


class AuthConfig(Section):
    """Bearer-token authentication of the HTTP API."""

    enabled: bool = True
    """Require `Authorization: Bearer TOKEN` on every /v1 request."""
    token_env: str = "MEDRAY_SERVE_TOKEN"
    """Environment variable with the token, or several separated by commas."""
    token_file: str = "~/.medray/serve_token"
    """File with one token a line, read where the variable is not set; made with a random token where it is missing."""


class LimitsConfig(Section):
    """What one request may ask for."""

    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    """Longest request body; beyond it the answer is 413."""
    max_header_bytes: int = Field(default=16_384, ge=1024)
    """Names and values of a request's headers together; beyond it the answer is 431."""
    read_s: Seconds = 30
    """Seconds in which a request's whole body must have come in; beyond it the answer is 408."""
    max_new_tokens: int = Field(default=4096, ge=1)
    """Most tokens one answer may ask for, and what an answer may have that asks for no number."""
    max_choices: int = Field(default=8, ge=1)
    """Most answers (`n`) of one request."""
    max_scored_tokens: int = Field(default=2048, ge=1)
    """Longest prompt whose own log-probabilities may be asked for (`echo` with `logprobs`): the engine holds the logits
    of all its tokens at once, which are no part of the memory it plans with."""
    max_concurrent: int = Field(default=256, ge=1)
    """Requests in flight an ingress replica accepts; beyond it the answer is 429."""
    first_token_s: Seconds = 120
    """Seconds until the first token; beyond it the answer is 504."""
    timeout_s: Seconds = 600
    """Seconds for a whole answer; a stream that takes longer ends with an error event."""


class CorsConfig(Section):
    """Web pages of other origins that may ask from a browser; without one, browsers refuse them."""

    origins: tuple[str, ...] = ()
    """Origins such as https://clinic.example; a page sends its token as any client does."""

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s*]+", origin):
                raise ValueError(
                    f"{origin!r} is not an origin: write scheme and host, such as https://clinic.example, or *"
                )
        return origins


class SafetyConfig(Section):
    """Rules before and after the model (docs/SERVING.md)."""

    mode: Literal["enforce", "report", "off"] = "enforce"
    """enforce changes answers; report only counts and logs which rules would have; off runs no rule."""
    emergency: Literal["first", "only"] = "first"
    """On a red flag, the advice to seek care comes first and the model's answer after it, or the advice comes alone."""
    disclaimer: Literal["always", "emergency", "never"] = "always"
    """When an answer ends with a line that it is no medical diagnosis."""


class ServeApp(Section):
    """One application: models behind one OpenAI-compatible address."""

    models: tuple[ServedModel, ...] = Field(min_length=1)
    """Base models; a request chooses one by name."""
    auth: AuthConfig = AuthConfig()
    limits: LimitsConfig = LimitsConfig()
    cors: CorsConfig = CorsConfig()
    safety: SafetyConfig = SafetyConfig()
    ingress_replicas: int = Field(default=1, ge=1)
    """Processes that check requests and pass tokens on."""
    ratings: str | None = None
    """Folder in which the web chat stores rated answers as preference rows; None shows no thumbs and stores nothing."""
    access_log: str | None = None
    """File for one JSON line a request, without bodies; None writes beside Ray Serve's own logs."""
