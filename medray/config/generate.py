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
    """Where the prompts are in the rows."""

    key: str | None = None
    """Column with the prompt: messages, or text as one user turn. None uses the first of messages, prompt, question,
    instruction (with input)."""
    id_key: str = "id"
    """Column with the id of a row; without it, file and line are used."""
    system: Annotated[str | None, MayBeBlank(empty=True)] = None
    """System message for every row; None keeps the row's own."""
    chat: bool = True
    """Render with the chat template; false passes the text to the model unchanged."""
    drop_answer: bool = False
    """Drop a final assistant message, as in demonstrations; otherwise such a row is an error."""


class SamplingConfig(Section):
    """Sampling parameters of the generated answers."""

    samples: int = Field(default=1, ge=1)
    """Answers per prompt."""
    max_new_tokens: int = Field(default=512, ge=1)
    """Maximum length of an answer, in tokens."""
    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature; 0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample from the smallest set of tokens with this total probability."""
    top_k: int = Field(default=0, ge=0)
    """Sample from this many most likely tokens; 0 samples from all."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Exclude tokens less likely than this share of the most likely token."""
    stop: Annotated[tuple[str, ...], MayBeBlank()] = ()
    """Texts that end an answer, in addition to the model's stop tokens."""
    seed: Seed = 0
    """Base seed; each row derives its own from it and its position in the file."""

    @model_validator(mode="after")
    def _temperature_is_the_engines(self) -> Self:
        if 0 < self.temperature < MIN_TEMPERATURE:
            raise ValueError(
                f"temperature={self.temperature:g} is below what vLLM samples at: set sampling.temperature=0 for the "
                f"likeliest token, or {MIN_TEMPERATURE} or more"
            )
        return self


class GenerateJob(Section):
    """Batch inference: answers to a file of prompts, in input order."""

    model: str = "smollm2-135m"
    """A catalogue name, model folder, hub id, run folder or adapter folder."""
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
    """Maximum length of prompt and answer together, tokens; the model's limit if that is lower."""
    template: TemplateName | None = None
    """Chat template by name; None takes the tokenizer's own."""
    workers: GenerateWorkers = GenerateWorkers()
    chunk_rows: int = Field(default=256, ge=1)
    """Rows per chunk; an interruption loses at most the chunks in progress."""
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
