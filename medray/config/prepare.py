"""The preparation job: a dataset of any form to shards of tokens."""

from __future__ import annotations

from typing import Any, Literal, Self, cast

from pydantic import Field, model_validator

from medray.config.base import Section, Seed
from medray.config.data import DataConfig
from medray.config.model import ModelConfig
from medray.config.supervised import ChatConfig
from medray.config.workers import PrepareWorkers

GENERATED = {
    "pt": "icd10-text",
    "sft": "icd10-sft",
    "preference": "icd10-preference",
    "kto": "icd10-preference",
    "process": "icd10-steps",
}
"""What a stage's rows are made of where no data are named."""


class FilterConfig(Section):
    """Filters on rows; dropped rows are counted by reason."""

    languages: tuple[Literal["en", "zh", "ja", "ko", "ru", "ar", "hi"], ...] = ()
    """Keep rows written mostly in one of these languages, detected by script (en, zh, ja, ko, ru, ar, hi); () keeps
    all."""
    min_characters: int = Field(default=0, ge=0)
    """Minimum length of a row, over all its turns, in characters."""
    max_characters: int | None = Field(default=None, ge=1)
    """Maximum length of a row, over all its turns, in characters; None sets no limit."""
    min_tokens: int = Field(default=0, ge=0)
    """Minimum number of tokens of prompt and continuations together."""

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.max_characters is not None and self.max_characters < self.min_characters:
            raise ValueError(
                f"max_characters={self.max_characters} is below min_characters={self.min_characters}"
            )
        return self


class DuplicatesConfig(Section):
    """Near-duplicate removal with MinHash (Broder 1997)."""

    threshold: float = Field(default=0.8, gt=0, le=1)
    """Estimated Jaccard similarity of n-grams from which a row is a near-duplicate."""
    ngram: int = Field(default=5, ge=1)
    """Words per n-gram; each Chinese character or kana is a word."""
    num_hashes: int = Field(default=128, ge=16, le=1024)
    """Hash values per row: more give a better estimate and need more memory, one byte each."""
    num_bands: int = Field(default=16, ge=1)
    """Bands per sketch; rows that agree in a whole band are compared. More bands find less similar rows."""

    @model_validator(mode="after")
    def _bands_fit(self) -> Self:
        if self.num_hashes % self.num_bands:
            raise ValueError(
                f"num_hashes={self.num_hashes} is not a multiple of num_bands={self.num_bands}: change one of them"
            )
        return self


class LayoutConfig(Section):
    """Order of the rows in a shard, and how they are bundled for training steps."""

    kind: Literal["shuffle", "pack", "bucket", "keep"] = "shuffle"
    """shuffle: random order. pack: bundles that fill `row_tokens`, in random order. bucket: bundles of similar lengths
    that fit into `row_tokens` when padded to the longest. keep: the order of the data."""
    row_tokens: int = Field(default=4096, ge=16)
    """Token budget of a bundle of pack and bucket; a longer row gets its own bundle."""


class ShardConfig(Section):
    """Size of a shard. Rows are shuffled and packed within their shard."""

    num_rows: int = Field(default=16384, ge=1)
    """Rows read per shard, including rows that are dropped later."""
    max_mb: int = Field(default=64, ge=1)
    """Maximum text read per shard, MiB."""


class PrepareData(DataConfig):
    """As in every job; without a path, rows made from the ICD-10-CM code list."""

    kind: str = "icd10-sft"
    """Registered schema (`medray data list`); with a path and no kind, auto."""
    num_eval: int = Field(default=0, ge=0)
    """Held-out records of a generated kind. Of rows that are read, `held_out_fraction` or `eval_path` says it."""


class PrepareJob(Section):
    """Configuration of `jobs/prepare_data.py`."""

    out: str = "prepared"
    """Output folder for shards and manifest; set `data.path` of a training job to it."""
    stage: Literal["pt", "sft", "preference", "kto", "process"] = "sft"
    """Stage that trains on the rows: pt, sft, preference (reward model, DPO, ORPO), kto or process (process
    reward model)."""
    seed: Seed = 17
    """Seed of the order within shards. The split has its own, `data.seed`."""
    resume: Literal["auto", "never"] = "auto"
    """auto resumes an interrupted preparation; never refuses a folder that has one."""
    model: ModelConfig = ModelConfig()
    """Model whose tokenizer and chat template are used; its weights are not read."""
    data: PrepareData = PrepareData()
    """Without it, rows made from the ICD-10-CM code list for the stage."""
    chat: ChatConfig = ChatConfig()
    train: Literal["all", "last"] = "all"
    """sft: which assistant turns are trained, every one or only the last of a dialogue."""
    train_on_prompt: bool = False
    """sft: also train on the tokens of the prompt."""
    block_tokens: int = Field(default=1024, ge=8)
    """pt: documents longer than this are cut into blocks."""
    append_eos: bool = True
    """pt: end every document with the end-of-text token."""
    filters: FilterConfig = FilterConfig()
    duplicates: DuplicatesConfig | None = None
    """Near-duplicate removal, such as {threshold: 0.8}; None keeps duplicates."""
    decontaminate: str | None = None
    """Your `package.module:function`, called with every Record; returns the reason to drop it, or None to keep it."""
    layout: LayoutConfig = LayoutConfig()
    shards: ShardConfig = ShardConfig()
    workers: PrepareWorkers = PrepareWorkers()
    memory_mb: int = Field(default=512, ge=64)
    """Maximum size of rows in flight between the processes, MiB; reading waits when it is reached."""

    @model_validator(mode="before")
    @classmethod
    def _data_of_the_stage(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "data" in values:
            return cast(Any, values)
        given = cast(dict[str, Any], values)
        return {
            **given,
            "data": {"kind": GENERATED.get(str(given.get("stage", "sft")), "icd10-sft")},
        }

    @model_validator(mode="after")
    def _streams_know_no_totals(self) -> Self:
        if self.data.is_generated:
            return self
        if self.data.mixing != "passes":
            raise ValueError(
                f"data.mixing={self.data.mixing} needs row counts, but preparation streams rows: remove it and"
                " set the weight of each source to its number of passes"
            )
        for key, instead in (
            ("num_train", "max_rows of a source caps it"),
            ("num_eval", "data.held_out_fraction or data.eval_path says what is held out"),
        ):
            if getattr(self.data, key):
                raise ValueError(
                    f"data.{key} needs row counts, but preparation streams rows: remove it; {instead}"
                )
        return self
