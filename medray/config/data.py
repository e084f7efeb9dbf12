"""Where the rows come from, how they are read, and how they are split."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from medray.config.base import MayBeBlank, Section, Seed

GENERATED_KINDS = ("icd10", "icd10-sft", "icd10-text", "icd10-preference")
"""Schemas that make their rows from an installed package and read no file."""


class FileConfig(Section):
    """One place to read rows from, and how to read them."""

    kind: str = "auto"
    """Registered schema (`medray data list`); auto finds it from the first rows of each file."""
    path: str | None = None
    """File, folder, glob pattern, or dataset id on the model hub (owner/name). Relative paths are taken
    from the working directory."""
    subset: str | None = None
    """Configuration of a hub dataset, such as finetune; None takes its only or default one."""
    hub_split: str = "train"
    """Split of a hub dataset to read."""
    revision: str | None = None
    """Commit or branch of a hub dataset; None takes the newest."""
    columns: dict[str, str | None] = Field(default_factory=dict[str, str | None])
    """Fields by the columns that hold them, {prompt: Prompt, completion: Completion}, where a schema's names and the
    data's differ. A dotted path reaches into objects and lists (data.Question, turns.0.text), "#2" is the second column
    of a table without a header line, and null leaves a column out."""
    encoding: str = "auto"
    """Encoding of text files, as Python names it (utf-8, gb18030, shift_jis, big5, euc_kr, latin-1, utf-16); auto tells
    it from the bytes, says which it is, and stops where two are as likely."""
    documents: Literal["auto", "paragraph", "line", "file"] = "auto"
    """What is one document of a .txt file: a run of lines up to a blank one, each line, or the whole file.
    auto: paragraph where the beginning of the file has blank lines, else line."""
    group_key: str | None = None
    """Field that names a row's group (patient, case, conversation), kept on one side of the split; None
    groups rows that say the same thing."""

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
    """One of several datasets that are mixed."""

    weight: float = Field(default=1.0, gt=0, le=1000)
    """Passes over this source in one epoch of the mixture: 2 takes each training row twice, 0.5 a fixed half; another
    meaning with `data.mixing`."""
    max_rows: int | None = Field(default=None, ge=1)
    """Stop reading after so many usable rows, in the order of the file; None reads all."""

    @model_validator(mode="after")
    def _path_is_given(self) -> Self:
        if not self.is_generated and self.path is None:
            raise ValueError(f"a source of kind {self.kind} reads a file: set its path")
        return self


class DataConfig(FileConfig):
    """A dataset, or a mixture of several, split into a training and a held-out part that share no group."""

    kind: str = "icd10"
    """Registered schema (`medray data list`): the icd10 kinds need no file; the others read `path`. With a
    path and no kind, auto: found from the first rows of each file."""
    sources: tuple[SourceConfig, ...] = ()
    """Several datasets to mix, each with its own path, kind, weight and cap, instead of `path`."""
    mixing: Literal["passes", "temperature", "tokens"] = "passes"
    """What the weights of `sources` mean. passes: how often an epoch takes a source. temperature: sources come in
    proportion to weight x rows^(1 / mixing_temperature). tokens: each source's share of the tokens, estimated from the
    UTF-8 bytes of its text. With the latter two, an epoch is as long as one pass over all sources."""
    mixing_temperature: float = Field(default=1.0, ge=1, le=1000)
    """1 mixes sources by their rows; the higher, the closer to equal parts (arXiv:1910.10683 uses 2)."""
    eval_path: str | None = None
    """Held-out rows in files of their own, read like `path`; None holds out a part of `path`."""
    num_train: int | None = Field(default=None, ge=1)
    """Training records to keep; None keeps all (icd10 kinds: 4096)."""
    num_eval: int = Field(default=128, ge=0)
    """Held-out records, never trained on."""
    held_out_fraction: float = Field(default=0.01, ge=0, lt=1)
    """Share of the groups held out when rows are streamed, where `num_eval` cannot be counted beforehand."""
    num_options: int = Field(default=4, ge=2, le=26)
    """Options of a generated multiple-choice item."""
    shuffle_options: bool = False
    """Put the options of each multiple-choice item in an order drawn from `seed` and its id."""
    thinking: Literal["tags", "headings", "none"] = "tags"
    """Where a chain of thought goes that the data hold apart from the answer: into <think></think> before it,
    under "## Thinking" and "## Final Response" (HuatuoGPT-o1), or nowhere."""
    seed: Seed = 17
    """Seeds the split, the generated items and the order of options, apart from the run's seed."""
    max_prompt_tokens: int = Field(default=1024, ge=8)
    """Longer prompts are dropped, counted and reported."""
    system: Annotated[str | None, MayBeBlank(empty=True)] = None
    """System message put before each prompt; None keeps the record's own."""
    on_bad_row: str = Field(default="error", pattern="^(error|skip)$")
    """What a malformed row does: stop the job naming file and line, or be skipped, counted and reported."""

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
