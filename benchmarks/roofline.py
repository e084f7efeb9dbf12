"""How close is the learner's update to what this machine can do, and how much of its work does the loss need?

The peak is that of float32 matrix products of the model's own shapes, measured before and after the updates.

python -m benchmarks.roofline --rounds 3
"""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.record import spread, write_record
from benchmarks.updates import SHAPES, Shape, Updates, groups
from benchmarks.work import Least, Sizes, gemm_peak
from medray.data.batches.packing import build_row, pack
from medray.types import PromptTree


def main(
    rounds: Annotated[int, typer.Option(help="Updates timed of each shape, after a warm-up.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Time the update of each shape against the least work it could do at the measured peak."""
    updates = Updates()
    config = updates.policy.module.config
    peaks = [gemm_peak(config)]
    results: dict[str, Any] = {}
    for name, shape in SHAPES.items():
        trees = groups(shape, updates.vocabulary)
        seconds: list[float] = []
        for number in range(rounds + 1):
            begin = time.perf_counter()
            updates.gradient(trees)
            if number:
                seconds.append(time.perf_counter() - begin)
        peaks.append(gemm_peak(config))
        results[name] = spread(seconds) | _ledger(shape, trees, updates) | asdict(shape)
    peak = statistics.median(peaks)
    for result in results.values():
        result["least_s"] = result["least_tflop"] * 1e12 / peak
        result["share_of_peak"] = result["computed_tflop"] * 1e12 / peak / result["median_s"]
    write_record(
        out / "roofline.json",
        main.__doc__ or "",
        {"rounds": rounds},
        {"gemm_peak_gflops": [p / 1e9 for p in peaks], "updates": results},
    )
    _show(peak, results)


def _ledger(shape: Shape, trees: list[PromptTree], updates: Updates) -> dict[str, float]:
    """Tokens, logits and multiplications that are needed and that are done."""
    least, sizes = Least.of(trees), Sizes.of(updates.policy.module)
    repeated = shape.groups * shape.samples * (shape.prompt + shape.answer)
    rows = [build_row(row) for row in pack(trees, updates.learner.config.row_tokens)]
    chunk = updates.learner.config.head_chunk
    # Logits are made again in the backward pass, all but the last chunk of a row.
    again = sum((len(row.targets) - 1) // chunk * chunk for row in rows)
    least_flop = 3 * sizes.forward_flop(least)
    return {
        "needed_tokens": least.tokens,
        "computed_tokens": sum(len(row.token_ids) for row in rows),
        "tokens_with_repeated_prompts": repeated,
        "needed_logits": least.logits,
        "computed_logits": least.logits + again,
        "least_tflop": least_flop / 1e12,
        "computed_tflop": (least_flop + 2 * sizes.head * again) / 1e12,
    }


def _show(peak: float, results: dict[str, Any]) -> None:
    table = Table(title=f"float32 matrix products: {peak / 1e9:.0f} GFLOP/s")
    columns = (
        "update",
        "seconds",
        "least seconds",
        "share of peak",
        "tokens",
        "if repeated",
        "logits",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for name, r in results.items():
        table.add_row(
            name,
            f"{r['median_s']:.2f}",
            f"{r['least_s']:.2f}",
            f"{r['share_of_peak']:.0%}",
            str(r["computed_tokens"]),
            str(r["tokens_with_repeated_prompts"]),
            str(r["needed_logits"]),
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
