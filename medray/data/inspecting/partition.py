"""A dataset written as two files that share no group, with a manifest of how it was done."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from medray.config.data import DataConfig
from medray.data.loading.mixture import open_source
from medray.data.loading.report import DropCounter
from medray.data.loading.rows import checked_rows
from medray.data.loading.split import choose_held_out, group_of, is_held_out
from medray.data.loading.stages import Stage
from medray.data.parsing.grouping import exchanges
from medray.data.parsing.language import text_group
from medray.data.parsing.turns import user_text
from medray.data.source import Row, Source
from medray.data.writing import open_writer
from medray.errors import DataError
from medray.storage.atomic import write_text

MANIFEST = "split.json"


SIDES = ("train", "held_out")


@dataclass(slots=True)
class WrittenSide:
    """Path, rows and groups of one output file of a split."""

    file: str
    rows: int = 0
    groups: int = 0


@dataclass(slots=True)
class WrittenSplit:
    """What was written, as the manifest has it.

    `shared_prompts` counts held-out prompts that also stand in training rows, of another group: groups that
    the data name may hold the same question. `shared_turns` counts the held-out answers that also stand in training
    rows after the same words of the user, of `held_out_turns` different ones.
    """

    source: str
    sha256: dict[str, str]
    seed: int
    train: WrittenSide
    held_out: WrittenSide
    shared_prompts: int
    shared_turns: int
    held_out_turns: int
    left_out: dict[str, int]

    def lines(self) -> Iterator[str]:
        """Format the result for the terminal, a line per fact."""
        for side in (self.train, self.held_out):
            yield f"{side.file}: {side.rows} rows in {side.groups} groups"
        if self.shared_prompts:
            yield f"{self.shared_prompts} held-out prompts also stand in training groups"
        if self.shared_turns:
            yield (
                f"{self.shared_turns} of {self.held_out_turns} held-out answers also stand in training rows:"
                " set group_key to the field that names the dialogue, the patient or the case"
            )
        for reason, count in self.left_out.items():
            yield f"left out {count} ({reason})"


def write_split(
    config: DataConfig,
    out: Path,
    suffix: str,
    *,
    stage: Stage | None = None,
    num_eval: int | None = None,
    fraction: float | None = None,
) -> WrittenSplit:
    """Read the dataset twice: to choose groups, then to write `train` and `held_out` under `out`.

    Args:
        config: what to read; its seed draws the groups.
        out: folder, made when missing.
        suffix: jsonl, jsonl.gz or parquet.
        stage: write records as this stage reads them.
        num_eval: rows to hold out, in whole groups.
        fraction: share of the groups to hold out, when `num_eval` is None.

    Raises:
        DataError: a row is bad, or a side would be empty.
    """
    held_out = _choose(config, stage, num_eval, fraction)
    sides = {name: WrittenSide(f"{name}.{suffix}") for name in SIDES}
    groups, prompts, turns = ({name: set[bytes]() for name in SIDES} for _ in range(3))
    dropped = DropCounter()
    source = open_source(config)
    with contextlib.ExitStack() as files:
        writers = {name: files.enter_context(open_writer(out / sides[name].file)) for name in SIDES}
        for row in checked_rows(source.rows, config, dropped, stage):
            group = _key(group_of(row.record))
            name = "held_out" if group in held_out else "train"
            writers[name].write(row.record)
            sides[name].rows += 1
            groups[name].add(group)
            said = user_text(row.record.messages) or (row.record.text,)
            prompts[name].add(bytes.fromhex(text_group(*said)))
            turns[name].update(exchanges(row.record))
        for name in SIDES:
            sides[name].groups = len(groups[name])
        _require_both(sides, source.name)
    split = WrittenSplit(
        source=source.name,
        sha256=dict(source.digests),
        seed=config.seed,
        train=sides["train"],
        held_out=sides["held_out"],
        shared_prompts=len(prompts["train"] & prompts["held_out"]),
        shared_turns=len(turns["train"] & turns["held_out"]),
        held_out_turns=len(turns["held_out"]),
        left_out={reason: drop.count for reason, drop in dropped.by_reason().items()},
    )
    write_text(out / MANIFEST, json.dumps(asdict(split), indent=2, ensure_ascii=False) + "\n")
    return split


def _require_both(sides: dict[str, WrittenSide], source: str) -> None:
    train, held_out = sides["train"], sides["held_out"]
    if not train.rows or not held_out.rows:
        raise DataError(
            f"{source}: the split has {train.rows} training rows and {held_out.rows} held-out rows in"
            f" {train.groups + held_out.groups} groups: hold out another share, or use data with more groups"
        )


def _choose(
    config: DataConfig, stage: Stage | None, num_eval: int | None, fraction: float | None
) -> frozenset[bytes]:
    """Keys of the held-out groups: those the dataset marks, else those drawn."""
    source = open_source(config)
    sizes = Counter[str]()
    marked: set[bytes] = set()
    for row in checked_rows(source.rows, config, DropCounter(), stage):
        group = group_of(row.record)
        sizes[group] += 1
        if _is_marked(row, source):
            marked.add(_key(group))
    if source.held_out_ids is not None or config.eval_path is not None:
        return frozenset(marked)
    if num_eval is not None:
        free = {group: size for group, size in sizes.items() if _key(group) not in marked}
        chosen = choose_held_out(free, config.seed, num_eval)
    else:
        chosen = {g for g in sizes if is_held_out(g, config.seed, fraction or 0.0)}
    return frozenset(marked | {_key(group) for group in chosen})


def _is_marked(row: Row, source: Source) -> bool:
    official = source.held_out_ids
    return row.is_held_out or (official is not None and row.record.id in official)


def _key(group: str) -> bytes:
    return hashlib.sha256(group.encode()).digest()[:12]
