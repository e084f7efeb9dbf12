"""`manifest.json` of a prepared folder: what is in it, what it was made from, and what became of every row."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from medray.config.base import StrictModel
from medray.data.loading.report import drops_text, thoughts_text
from medray.errors import DataError, first_line
from medray.storage.atomic import write_text

FILE = "manifest.json"
FORMAT = 1
Side = Literal["train", "held_out"]


class ShardEntry(StrictModel):
    """Manifest entry of one shard: counts, size and checksum."""

    file: str
    """Path inside the folder."""
    side: Side
    num_trees: int
    num_bundles: int
    """What a step counts as rows: bundles of pack and bucket, else trees."""
    num_tokens: int
    num_trained: int
    num_bytes: int
    sha256: str


class Drops(StrictModel):
    """Rows left out for one reason, with the first few as `file:line: what is wrong`."""

    count: int
    examples: tuple[str, ...]


class PartCounts(StrictModel):
    """What became of the rows of one source."""

    read: int = 0
    kept: int = 0


class Counts(StrictModel):
    """What became of all rows: read = kept + those of `dropped`."""

    read: int = 0
    kept: int = 0
    unused: int = 0
    """Kept rows that a weight below 1 left out."""
    repeated: int = 0
    """Copies beyond the first, of sources with a weight above 1."""
    truncated: int = 0
    """Rows that lost messages or tokens to fit."""
    cut_tokens: int = 0
    dropped_messages: int = 0
    lost_thoughts: int = 0
    """Thoughts of earlier turns, which the template leaves out."""
    unclosed_thoughts: int = 0
    """Turns that are not trained because their thought is never closed."""


class Manifest(StrictModel):
    """A prepared folder, whole or as far as it is."""

    format: int = FORMAT
    stage: Literal["pt", "sft", "preference", "kto", "process"]
    identity: dict[str, Any]
    """The settings and versions that the bytes of the shards depend on."""
    tokenizer_sha256: str
    complete: bool = False
    num_windows: int = 0
    """Windows of rows that are done."""
    input_sha256: str = ""
    """Digest of the rows of these windows, in the order read."""
    sources: dict[str, str] = Field(default_factory=dict)
    files_sha256: dict[str, str] = Field(default_factory=dict)
    """Digest of every file read; complete folders have it."""
    counts: Counts = Counts()
    parts: dict[str, PartCounts] = Field(default_factory=dict)
    dropped: dict[str, Drops] = Field(default_factory=dict)
    shards: tuple[ShardEntry, ...] = ()

    def side(self, side: Side) -> tuple[ShardEntry, ...]:
        """The shards of one side of the split, in order."""
        return tuple(shard for shard in self.shards if shard.side == side)

    def summary(self) -> str:
        """Format rows, tokens and dropped rows on one line for the terminal."""
        parts = [
            f"{sum(s.num_trees for s in shards):,} {name} rows of {sum(s.num_tokens for s in shards):,} tokens,"
            f" {sum(s.num_trained for s in shards):,} trained"
            for name, shards in (
                ("training", self.side("train")),
                ("held-out", self.side("held_out")),
            )
            if shards
        ]
        counts = self.counts
        parts.append(f"{counts.read:,} rows read")
        parts += drops_text(self.dropped)
        if counts.truncated:
            parts.append(
                f"truncated {counts.truncated:,} ({counts.dropped_messages:,} messages and"
                f" {counts.cut_tokens:,} tokens left out)"
            )
        parts += thoughts_text(counts.lost_thoughts, counts.unclosed_thoughts)
        if counts.repeated or counts.unused:
            parts.append(f"{counts.repeated:,} repeated, {counts.unused:,} unused by weight")
        return "; ".join(parts)


def is_prepared(path: str | Path | None) -> bool:
    """True for a folder that `jobs/prepare_data.py` wrote, or has begun to write."""
    return path is not None and Path(path).expanduser().joinpath(FILE).is_file()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared folder.

    Raises:
        DataError: there is none, or it is damaged or of another layout.
    """
    path = folder / FILE
    try:
        manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{folder} is not a prepared folder (no {FILE}): run jobs/prepare_data.py"
        ) from None
    except (OSError, ValidationError) as error:
        reason = first_line(error)
        raise DataError(f"{path} cannot be read ({reason}): prepare the data again") from None
    if manifest.format != FORMAT:
        raise DataError(
            f"{path} has layout {manifest.format}, but this version reads {FORMAT}: prepare the data again"
        )
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest; readers see the old one or the new one."""
    write_text(folder / FILE, manifest.model_dump_json(indent=1) + "\n")
