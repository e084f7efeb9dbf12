"""A supervised job's dataset as trees, with what became of every row: read here, or prepared beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from medray.config.supervised import SupervisedJob
from medray.data.batches.examples import Example, ToExamples, build_examples
from medray.data.batches.tree_table import TreeSequence, TreeTable
from medray.data.batches.trees import with_mismatched
from medray.data.loading.load import load_dataset
from medray.data.loading.report import DropCounter, Dropped, drops_text, thoughts_text
from medray.data.prepared.manifest import is_prepared
from medray.data.source import BadRow, RowError, Unrendered
from medray.errors import DataError
from medray.learners.methods import METHODS, needs_mismatched
from medray.models.tokenizer import load_tokenizer
from medray.runs.prepared import open_prepared_rows
from medray.types import PromptTree, Record


@dataclass
class TokenReport:
    """What became of records when they were made into tokens."""

    num_truncated: int = 0  # rows that lost messages or tokens
    num_cut_tokens: int = 0  # cut from ends of last answers
    num_dropped_messages: int = 0
    num_lost_thoughts: int = 0  # of earlier turns, which the template leaves out
    num_unclosed_thoughts: int = 0  # turns that are not trained because of one
    dropped: dict[str, Dropped] = field(default_factory=dict[str, Dropped])  # rows, by reason

    def provenance(self) -> dict[str, Any]:
        """Convert to JSON types, for the run's provenance record."""
        return {
            "skipped": {reason: drop.count for reason, drop in self.dropped.items()},
            "truncated": self.num_truncated,
            "lost_thoughts": self.num_lost_thoughts,
            "unclosed_thoughts": self.num_unclosed_thoughts,
        }

    def summary(self) -> str:
        """What was lost, in words; empty when nothing was."""
        parts = drops_text(self.dropped)
        if self.num_truncated:
            parts.append(
                f"truncated {self.num_truncated} ({self.num_dropped_messages} messages and "
                f"{self.num_cut_tokens} tokens left out)"
            )
        thoughts = thoughts_text(self.num_lost_thoughts, self.num_unclosed_thoughts)
        return "; ".join([*parts, *thoughts])


@dataclass(frozen=True)
class TrainingData:
    """Both sides of the split as trees, and where they came from."""

    train: TreeSequence
    held_out: TreeSequence
    summary: str  # one line for people: rows read, kept, dropped and truncated
    provenance: Mapping[str, Any]  # the same as JSON values, with the sha256 of what was read


def tokenise_dataset(method: str, job: SupervisedJob) -> TrainingData:
    """Read, split and tokenise what the job trains on, or open the prepared folder that `data.path` names.

    Raises:
        DataError: no row is left, a dialogue cannot be rendered (`data.on_bad_row: error`), or as `load_dataset` and
            `open_prepared_rows` say.
        ModelError: the tokenizer cannot be loaded, or has no chat template where one is needed.
    """
    if is_prepared(job.data.path):
        return TrainingData(*open_prepared_rows(method, job))
    stage = METHODS[method].stage
    dataset = load_dataset(job.data, stage=stage)
    to_examples = build_examples(stage, job, load_tokenizer(job.model))
    report, dropped = TokenReport(), DropCounter()
    is_strict = job.data.on_bad_row == "error"
    sides: list[TreeTable] = []
    for records in (dataset.train, dataset.held_out):
        examples = _examples(records, dataset.places, to_examples, dropped, is_strict)
        trees = _trees(examples, report)
        if needs_mismatched(method, job):
            trees = iter(with_mismatched(list(trees), cast(Any, job).chat.max_tokens))
        sides.append(TreeTable.of(trees))
    report.dropped = dropped.by_reason()
    if len(sides[0]) == 0:
        raise DataError(f"{dataset.report.source}: no row is left to train on: {report.summary()}")
    train, held_out = sides
    rows = (
        f"{len(train):,} rows to train on, {train.num_tokens.sum():,} tokens, "
        f"{train.num_trained:,} of them trained; {len(held_out):,} held out"
    )
    load = dataset.report
    summary = "; ".join(part for part in (load.summary(), rows, report.summary()) if part)
    provenance = load.provenance() | report.provenance()
    return TrainingData(train, held_out, summary, provenance)


def _examples(
    records: Iterable[Record],
    places: Mapping[str, str],
    to_examples: ToExamples,
    dropped: DropCounter,
    is_strict: bool,
) -> Iterator[Example]:
    """The examples of the records; what has none is counted in `dropped`.

    Raises:
        DataError: a dialogue cannot be rendered, and `is_strict`.
    """
    for record in records:
        try:
            yield from list(to_examples(record))
        except RowError as error:
            row = BadRow(places.get(record.id, record.id), error.reason, error.detail)
            if is_strict and isinstance(error, Unrendered):
                raise DataError(f"{row} (data.on_bad_row=skip skips such rows)") from error
            dropped.add(row)


def _trees(examples: Iterable[Example], report: TokenReport) -> Iterator[PromptTree]:
    for example in examples:
        _count(example, report)
        yield example.tree


def _count(example: Example, report: TokenReport) -> None:
    report.num_truncated += bool(example.num_cut_tokens or example.num_dropped_messages)
    report.num_cut_tokens += example.num_cut_tokens
    report.num_dropped_messages += example.num_dropped_messages
    report.num_lost_thoughts += example.num_lost_thoughts
    report.num_unclosed_thoughts += example.num_unclosed_thoughts
