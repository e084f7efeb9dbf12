"""Quantising a model, and measuring what it costs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from medray.config.base import Section
from medray.config.data import DataConfig

Method = Literal["4bit", "8bit", "gptq", "awq", "fp8"]
COMPRESSED: tuple[Method, ...] = ("gptq", "awq", "fp8")
"""Methods of llm-compressor; the others are bitsandbytes'."""


class TextData(DataConfig):
    """As in every job; without a path, rows made from the ICD-10-CM code list."""

    kind: str = "icd10-text"
    """Registered schema (`medray data list`); with a path and no kind, auto."""
    num_eval: int = Field(default=128, ge=1)
    """Held-out documents, whose perplexity is measured."""


class QuestionData(DataConfig):
    """As in every job; without a path, rows made from the ICD-10-CM code list."""

    num_eval: int = Field(default=256, ge=0)
    """Held-out multiple-choice or closed questions, whose accuracy is measured; 0 measures none."""


class QuantiseJob(Section):
    """Quantize a model, and measure the change in perplexity and accuracy."""

    model: str
    """A catalogue name, a model folder, a hub id, or the folder of a run or adapter, which is merged first."""
    out: str
    """Output folder; must not exist."""
    method: Method = "4bit"
    """4bit: NF4 with double quantisation (arXiv:2305.14314); 8bit: LLM.int8 (arXiv:2208.07339), both by bitsandbytes.
    gptq (arXiv:2210.17323) and awq (arXiv:2306.00978): 4-bit weights in groups; fp8: weights and activations, scales
    found as it runs; these by llm-compressor."""
    group_size: int = Field(default=128, ge=8)
    """Weights that share a scale, gptq and awq; halved until it divides every layer's input."""
    calibration_rows: int = Field(default=256, ge=1)
    """Training rows of `text` for calibration with gptq and awq."""
    max_tokens: int = Field(default=512, ge=8)
    """Documents are cut to this many tokens."""
    text: TextData = TextData()
    """Documents: the training split calibrates, the held-out split is measured."""
    questions: QuestionData = QuestionData()
    """Multiple-choice questions: the held-out split is measured."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the computation."""
    compressor: str | None = None
    """Python of an environment with llm-compressor, which needs other versions of transformers than medray; None uses
    this environment."""
    trust_remote_code: bool = False
    """Run Python code that ships with the model. Off unless you have read that code."""

    @model_validator(mode="after")
    def _method_can_run(self) -> Self:
        if self.compressor is not None and self.method not in COMPRESSED:
            raise ValueError(
                f"compressor applies to method={', '.join(COMPRESSED)} only: remove it with method={self.method}"
            )
        if self.method == "awq" and self.device == "cpu":
            raise ValueError(
                "llm-compressor's awq runs on GPUs only: set device=cuda, or method=gptq"
            )
        return self
