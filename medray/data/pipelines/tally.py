"""What became of the rows of a preparation, counted as they pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from medray.data.loading.report import MAX_EXAMPLES
from medray.data.prepared.manifest import Counts, Drops, Manifest, PartCounts

_REPEATS = ("near-duplicate", "most of its words are those of an earlier row")


@dataclass
class Tally:
    """Counts so far; begins where a manifest stopped."""

    counts: Counter[str] = field(default_factory=Counter[str])
    read: Counter[str] = field(default_factory=Counter[str])  # by part
    kept: Counter[str] = field(default_factory=Counter[str])
    dropped: Counter[str] = field(default_factory=Counter[str])  # by reason
    examples: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    @classmethod
    def of(cls, manifest: Manifest) -> Tally:
        """Restore the counts from the manifest of an interrupted preparation."""
        return cls(
            Counter(manifest.counts.model_dump()),
            Counter({name: part.read for name, part in manifest.parts.items()}),
            Counter({name: part.kept for name, part in manifest.parts.items()}),
            Counter({reason: drop.count for reason, drop in manifest.dropped.items()}),
            {reason: list(drop.examples) for reason, drop in manifest.dropped.items()},
        )

    def add(
        self, table: pa.Table, keep: npt.NDArray[np.bool_], repeats: npt.NDArray[np.bool_]
    ) -> None:
        """Count rows: which of them are kept, and which repeat an earlier one."""
        self.read.update(table.column("part").to_pylist())
        kept = table.filter(pa.array(keep))
        self.kept.update(kept.column("part").to_pylist())
        times = kept.column("num_copies").to_numpy()
        self.counts.update(
            read=len(table),
            kept=len(kept),
            unused=int((times == 0).sum()),
            repeated=int(np.maximum(times - 1, 0).sum()),
            truncated=int(
                (
                    (kept["cut_tokens"].to_numpy() > 0) | (kept["dropped_messages"].to_numpy() > 0)
                ).sum()
            ),
            cut_tokens=int(kept["cut_tokens"].to_numpy().sum()),
            dropped_messages=int(kept["dropped_messages"].to_numpy().sum()),
            lost_thoughts=int(kept["lost_thoughts"].to_numpy().sum()),
            unclosed_thoughts=int(kept["unclosed_thoughts"].to_numpy().sum()),
        )
        self._drop(table.filter(pa.array(~keep & ~repeats)), None)
        self._drop(table.filter(pa.array(repeats)), _REPEATS)

    def as_fields(self) -> dict[str, Any]:
        """The fields of a manifest that hold counts."""
        return {
            "counts": Counts(**{name: self.counts[name] for name in Counts.model_fields}),
            "parts": {
                name: PartCounts(read=count, kept=self.kept[name])
                for name, count in sorted(self.read.items())
            },
            "dropped": {
                reason: Drops(count=count, examples=tuple(self.examples[reason]))
                for reason, count in sorted(self.dropped.items())
            },
        }

    def _drop(self, table: pa.Table, why: tuple[str, str] | None) -> None:
        for row in table.select(["where", "reason", "detail"]).to_pylist():
            reason, detail = why or (row["reason"], row["detail"])
            self.dropped[reason] += 1
            examples = self.examples.setdefault(reason, [])
            if len(examples) < MAX_EXAMPLES:
                examples.append(f"{row['where']}: {reason}: {detail}")
