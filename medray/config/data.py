"""Where the prompts come from."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from medray.config.base import Section


class DataConfig(Section):
    """A dataset by schema name, split into a training and a held-out part that share no group."""

    kind: str = "icd10"
    """Registered schema (`medray data list`): icd10 needs no file; pubmedqa, qa and choice read `path`."""
    path: str | None = None
    """File to read. Relative paths are taken from the working directory."""
    num_train: int | None = Field(default=None, ge=1)
    """Training records to keep; None keeps all (icd10: 4096)."""
    num_eval: int = Field(default=128, ge=0)
    """Held-out records, never trained on."""
    num_options: int = Field(default=4, ge=2, le=26)
    """Options of a generated multiple-choice item."""
    seed: int = 17
    """Seeds the split, the generated items and the order of options, apart from the run's seed."""
    max_prompt_tokens: int = Field(default=1024, ge=8)
    """Longer prompts are dropped, counted and reported."""
    system: str | None = None
    """System message put before each prompt; None keeps the record's own."""
    on_bad_row: str = Field(default="error", pattern="^(error|skip)$")
    """What a malformed row does: stop the job naming file and line, or be skipped, counted and reported."""

    @model_validator(mode="after")
    def _file_is_given(self) -> Self:
        if self.kind != "icd10" and self.path is None:
            raise ValueError(f"data.kind={self.kind} reads a file: set data.path")
        return self
