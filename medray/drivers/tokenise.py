"""A supervised job's dataset as trees, with what became of every row."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from medray.config.supervised import SupervisedJob
from medray.data.load import load_dataset
from medray.data.report import DropCounter, Dropped, LoadReport
from medray.data.source import BadRow, RowError
from medray.data.tree_table import TreeTable
from medray.errors import DataError
from medray.learners.examples import Example, ToExamples, build_examples
from medray.learners.methods import METHODS
from medray.learners.trees import with_mismatched
from medray.models.tokenizer import load_tokenizer
from medray.types import PromptTree, Record

log = logging.getLogger(__name__)


@dataclass
class TokenReport:
    """What became of records when they were made into tokens."""

    num_truncated: int = 0  # rows that lost messages or tokens
    num_cut_tokens: int = 0  # cut from ends of last answers
    num_dropped_messages: int = 0
    dropped: dict[str, Dropped] = field(default_factory=dict[str, Dropped])  # rows, by reason

    def summary(self) -> str:
        """What was lost, in words; empty when nothing was."""
        parts = [
            f"dropped {drop.count} ({reason}, e.g. {drop.examples[0]})"
            for reason, drop in self.dropped.items()
        ]
        if self.num_truncated:
            parts.append(
                f"truncated {self.num_truncated} ({self.num_dropped_messages} messages and "
                f"{self.num_cut_tokens} tokens left out)"
            )
        return "; ".join(parts)


@dataclass(frozen=True)
class TrainingData:
    """Both sides of the split as trees, and where they came from."""

    train: TreeTable
    held_out: TreeTable
    load: LoadReport
    tokens: TokenReport

    def summary(self) -> str:
        """One line for people."""
        rows = (
            f"{len(self.train):,} rows to train on, {self.train.num_tokens.sum():,} tokens, "
            f"{self.train.num_trained:,} of them trained; {len(self.held_out):,} held out"
        )
        return "; ".join(
            part for part in (self.load.summary(), rows, self.tokens.summary()) if part
        )


def tokenise_dataset(method: str, job: SupervisedJob) -> TrainingData:
    """Read, split and tokenise what the job trains on.

    Raises:
        DataError: no row is left, or as `load_dataset` says.
        ModelError: the tokenizer cannot be loaded, or has no chat template where one is needed.
    """
    stage = METHODS[method].stage
    dataset = load_dataset(job.data, stage=stage)
    to_examples = build_examples(stage, job, load_tokenizer(job.model))
    report, dropped = TokenReport(), DropCounter()
    sides: list[TreeTable] = []
    for records in (dataset.train, dataset.held_out):
        trees = _trees(records, to_examples, report, dropped)
        if METHODS[method].has_mismatched:
            trees = iter(with_mismatched(list(trees)))
        sides.append(TreeTable.of(trees))
    report.dropped = dropped.by_reason()
    if len(sides[0]) == 0:
        raise DataError(f"{dataset.report.source}: no row is left to train on: {report.summary()}")
    data = TrainingData(sides[0], sides[1], dataset.report, report)
    if report.summary():
        log.warning("%s", report.summary())
    return data


def _trees(
    records: Iterable[Record], to_examples: ToExamples, report: TokenReport, dropped: DropCounter
) -> Iterator[PromptTree]:
    for record in records:
        try:
            examples = list(to_examples(record))
        except RowError as error:
            dropped.add(BadRow(record.id, error.reason, error.detail))
            continue
        for example in examples:
            _count(example, report)
            yield example.tree


def _count(example: Example, report: TokenReport) -> None:
    report.num_truncated += bool(example.num_cut_tokens or example.num_dropped_messages)
    report.num_cut_tokens += example.num_cut_tokens
    report.num_dropped_messages += example.num_dropped_messages
