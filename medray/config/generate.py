"""Batch inference over a file of prompts."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from medray.config.base import MayBeBlank, Section, Seed
from medray.config.model import TemplateName
from medray.config.rollout import MIN_TEMPERATURE, EngineConfig
from medray.config.workers import GenerateWorkers

SUFFIXES = (".jsonl", ".parquet")


class PromptConfig(Section):
    """Where prompts are in the rows."""

    key: str | None = None
    """Column with the prompt: messages, or text for one user turn. None takes the first there is of messages, prompt,
    question, instruction (with input after it)."""
    id_key: str = "id"
    """Column that names a row; rows without it are named by file and line."""
    system: Annotated[str | None, MayBeBlank(empty=True)] = None
    """System message for every row; None keeps the row's own."""
    chat: bool = True
    """Render with the chat template; false gives text to the model as it is."""
    drop_answer: bool = False
    """Leave out a last assistant message, e.g. of demonstrations; without it such a row is an error."""


class SamplingConfig(Section):
    """Sampling parameters of the generated answers."""

    samples: int = Field(default=1, ge=1)
    """Answers a prompt."""
    max_new_tokens: int = Field(default=512, ge=1)
    """Maximum length of an answer, in tokens."""
    temperature: float = Field(default=0.0, ge=0)
    """0 takes the likeliest token."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw from the likeliest tokens that make up this probability."""
    top_k: int = Field(default=0, ge=0)
    """Draw from this many likeliest tokens; 0 from all."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Leave out tokens less likely than this share of the likeliest."""
    stop: Annotated[tuple[str, ...], MayBeBlank()] = ()
    """Texts that end an answer, besides the model's own stop tokens."""
    seed: Seed = 0
    """Every row draws from a seed of its own, made from this one and its place in the file."""

    @model_validator(mode="after")
    def _temperature_is_the_engines(self) -> Self:
        if 0 < self.temperature < MIN_TEMPERATURE:
            raise ValueError(
                f"temperature={self.temperature:g} is below what vLLM samples at: set sampling.temperature=0 for the "
                f"likeliest token, or {MIN_TEMPERATURE} or more"
            )
        return self


class GenerateJob(Section):
    """Prompts in, answers out, in the same order."""

    model: str = "smollm2-135m"
    """A catalogue name, a model folder, a hub id, or the folder of a run or adapter."""
    input: str
    """File, folder or quoted pattern: JSON Lines, JSON, CSV, TSV, text or Parquet."""
    output: str
    """File to write: .jsonl or .parquet."""
    prompts: PromptConfig = PromptConfig()
    sampling: SamplingConfig = SamplingConfig()
    engine: EngineConfig = EngineConfig()
    """The engine's own settings."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the engines run."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: float32 on a CPU, bfloat16 on a GPU and for quantised weights."""
    max_model_len: int = Field(default=4096, ge=16)
    """Longest prompt and answer together, tokens; the model's own limit where that is lower."""
    template: TemplateName | None = None
    """Chat template by name; None takes the tokenizer's own."""
    workers: GenerateWorkers = GenerateWorkers()
    chunk_rows: int = Field(default=256, ge=1)
    """Rows a worker computes together, and what an interruption may cost."""
    trust_remote_code: bool = False
    """Run Python code that ships with the model. Off unless you have read that code."""

    @model_validator(mode="after")
    def _output_has_a_format(self) -> Self:
        if not self.output.endswith(SUFFIXES):
            raise ValueError(
                f"output={self.output}: the file name must end in {', '.join(SUFFIXES)}"
            )
        return self

    @model_validator(mode="after")
    def _gpu_is_reserved(self) -> Self:
        if self.device == "cuda" and self.workers.engine.gpus <= 0:
            raise ValueError("device=cuda needs workers.engine.gpus, e.g. workers.engine.gpus=1")
        if self.sampling.samples > 1 and self.sampling.temperature == 0:
            raise ValueError(
                f"sampling.samples={self.sampling.samples} at temperature 0 repeats the same answer: "
                "set sampling.temperature above 0"
            )
        return self
