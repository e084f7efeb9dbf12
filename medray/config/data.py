"""Where the rows come from, how they are read, and how they are split."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from medray.config.base import MayBeBlank, Section, Seed

GENERATED_KINDS = (
    "icd10",
    "icd10-sft",
    "icd10-text",
    "icd10-preference",
    "icd10-steps",
    "calculators",
    "calculators-zh",
)
"""Schemas that make their rows from an installed package and read no file."""


class FileConfig(Section):
    """A source of rows, and how to read it."""

    kind: str = "auto"
    """Schema (`medray data list`); auto detects it from the first rows of each file."""
    path: str | None = None
    """File, folder, glob pattern, or dataset id on the model hub (owner/name). Relative paths start at the working
    directory."""
    subset: str | None = None
    """Configuration of a hub dataset, such as finetune; None uses the only or default one."""
    hub_split: str = "train"
    """Split of a hub dataset to read."""
    revision: str | None = None
    """Commit or branch of a hub dataset; None uses the newest."""
    columns: dict[str, str | None] = Field(default_factory=dict[str, str | None])
    """Mapping of fields to columns, {prompt: Prompt, completion: Completion}, if the names differ from the schema's. A
    dotted path reaches into objects and lists (data.Question, turns.0.text), "#2" is the second column of a table
    without a header line, and null ignores a column."""
    encoding: str = "auto"
    """Encoding of text files, by its Python name (utf-8, gb18030, shift_jis, big5, euc_kr, latin-1, utf-16); auto
    detects and reports it, and fails if it is ambiguous."""
    documents: Literal["auto", "paragraph", "line", "file"] = "auto"
    """Unit of a document in a .txt file: a paragraph (ended by a blank line), a line, or the whole file. auto:
    paragraph if the beginning of the file has blank lines, else line."""
    group_key: str | None = None
    """Field with the group of a row (patient, case, conversation), which stays on one side of the split; None groups
    rows with the same content."""

    @model_validator(mode="before")
    @classmethod
    def _detect_unless_named(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "kind" in values:
            return cast(Any, values)
        given = cast(dict[str, Any], values)
        return {**given, "kind": "auto"} if given.get("path") or given.get("sources") else given

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, value: str) -> str:
        if value == "auto":
            return value
        try:
            codecs.lookup(value)
        except LookupError:
            raise ValueError(
                f"{value!r} is not an encoding: use auto, utf-8, gb18030, shift_jis, big5, ..."
            ) from None
        return value

    @property
    def is_generated(self) -> bool:
        """True when the rows are made from an installed package and no file is read."""
        return self.kind in GENERATED_KINDS

    @model_validator(mode="after")
    def _generated_or_read(self) -> Self:
        if self.is_generated and self.path is not None:
            raise ValueError(
                f"data.kind={self.kind} generates its rows and would ignore data.path={self.path}: remove"
                " one of the two, or set data.kind=auto"
            )
        return self


class SourceConfig(FileConfig):
    """One dataset of a mixture, and its weight."""

    weight: float = Field(default=1.0, gt=0, le=1000)
    """Passes over this source per epoch of the mixture: 2 takes each training row twice, 0.5 a fixed half;
    `data.mixing` can give it another meaning."""
    max_rows: int | None = Field(default=None, ge=1)
    """Read only this many usable rows, in file order; None reads all."""

    @model_validator(mode="after")
    def _path_is_given(self) -> Self:
        if not self.is_generated and self.path is None:
            raise ValueError(f"a source of kind {self.kind} reads a file: set its path")
        return self


class DataConfig(FileConfig):
    """A dataset or a mixture of datasets, split by groups into a training and a held-out part."""

    kind: str = "icd10"
    """Schema (`medray data list`): the icd10 kinds generate rows; the others read `path`. With a path and no kind, auto
    detects it from the first rows of each file."""
    sources: tuple[SourceConfig, ...] = ()
    """Datasets to mix, each with its own path, kind, weight and cap, instead of `path`."""
    mixing: Literal["passes", "temperature", "tokens"] = "passes"
    """Meaning of the weights of `sources`. passes: passes over a source per epoch. temperature: sources are sampled in
    proportion to weight x rows^(1 / mixing_temperature). tokens: share of the tokens, estimated from the UTF-8 bytes of
    the text. With the latter two, an epoch is as long as one pass over all sources."""
    mixing_temperature: float = Field(default=1.0, ge=1, le=1000)
    """1 mixes sources in proportion to their rows; higher values approach equal parts (arXiv:1910.10683 uses 2)."""
    eval_path: str | None = None
    """Separate held-out files, read like `path`; None holds out a part of `path`."""
    num_train: int | None = Field(default=None, ge=1)
    """Training records to keep; None keeps all (icd10 kinds: 4096)."""
    num_eval: int = Field(default=128, ge=0)
    """Held-out records, never trained on."""
    held_out_fraction: float = Field(default=0.01, ge=0, lt=1)
    """Share of groups to hold out when rows are streamed and `num_eval` rows cannot be counted in advance."""
    num_options: int = Field(default=4, ge=2, le=26)
    """Options of a generated multiple-choice item."""
    shuffle_options: bool = False
    """Shuffle the options of each multiple-choice item, seeded by `seed` and the item's id."""
    thinking: Literal["tags", "headings", "none"] = "tags"
    """Where to put a separate chain of thought: into <think></think> before the answer, under "## Thinking" and "##
    Final Response" (HuatuoGPT-o1), or nowhere."""
    seed: Seed = 17
    """Seed of the split, the generated items and the order of options; independent of the run's seed."""
    max_prompt_tokens: int = Field(default=1024, ge=8)
    """Longer prompts are dropped, counted and reported."""
    system: Annotated[str | None, MayBeBlank(empty=True)] = None
    """System message for every prompt; None keeps the record's own."""
    on_bad_row: str = Field(default="error", pattern="^(error|skip)$")
    """What a bad row does: stop the job with file and line, or be skipped, counted and reported."""

    @model_validator(mode="after")
    def _something_is_read(self) -> Self:
        if self.sources and self.path is not None:
            raise ValueError(
                "data.sources and data.path are both set: move the path into data.sources"
            )
        if self.sources and self.kind != "auto":
            raise ValueError(
                f"data.kind={self.kind} has no effect with data.sources: set the kind of each source"
            )
        if not self.is_generated and self.path is None and not self.sources:
            raise ValueError(f"data.kind={self.kind} reads a file: set data.path")
        if self.eval_path is not None and self.is_generated:
            raise ValueError(
                f"data.kind={self.kind} generates its own held-out rows: remove data.eval_path"
            )
        return self
