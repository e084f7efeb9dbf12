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
from medray.data.packing import build_row, pack
from medray.types import PromptTree


def main(
    rounds: Annotated[int, typer.Option(help="Updates timed of each shape, after a warm-up.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Time the update of each shape against the least work it could do at the measured peak."""
    updates = Updates()
    config = updates.policy.module.config
    peaks = [_gemm_peak(config)]
    results: dict[str, Any] = {}
    for name, shape in SHAPES.items():
        trees = groups(shape, updates.vocabulary)
        seconds: list[float] = []
        for number in range(rounds + 1):
            begin = time.perf_counter()
            updates.gradient(trees)
            if number:
                seconds.append(time.perf_counter() - begin)
        peaks.append(_gemm_peak(config))
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
    """Tokens and multiplications (2 FLOP each, forward 1 and backward 2 times) that are needed and that are done."""
    config = updates.policy.module.config
    heads, layers = config.num_attention_heads * config.head_dim, config.num_hidden_layers
    weights = sum(
        p.numel() for n, p in updates.policy.module.named_parameters() if p.ndim == 2 and "embed" not in n
    )  # fmt: skip
    read = shape.answer - 1  # nothing depends on what an answer's last token would compute
    tokens = shape.groups * (shape.prompt + shape.samples * read)
    trained = shape.groups * shape.samples * shape.answer
    pairs = shape.groups * (
        shape.prompt * (shape.prompt + 1) / 2
        + shape.samples * (read * shape.prompt + read * (read + 1) / 2)
    )
    body = 6 * weights * tokens
    head = 6 * config.vocab_size * config.hidden_size * trained
    attention = 3 * 4 * heads * layers * pairs
    repeated = shape.groups * shape.samples * (shape.prompt + shape.answer)
    rows = [build_row(row) for row in pack(trees, updates.learner.config.row_tokens)]
    chunk = updates.learner.config.head_chunk
    again = sum(
        (len(row.targets) - 1) // chunk * chunk for row in rows
    )  # all but a row's last chunk
    recomputed = 2 * config.vocab_size * config.hidden_size * again
    return {
        "needed_tokens": tokens,
        "computed_tokens": sum(len(row.token_ids) for row in rows),
        "tokens_with_repeated_prompts": repeated,
        "needed_logits": trained,
        "computed_logits": trained + again,
        "least_tflop": (body + head + attention) / 1e12,
        "computed_tflop": (body + head + attention + recomputed) / 1e12,
    }


def _gemm_peak(config: Any) -> float:
    """FLOP/s of float32 products at the update's sizes, the best of a few."""
    import torch

    best = 0.0
    for inner, outer in ((config.hidden_size, config.intermediate_size), (2048, 2048)):
        left, right = torch.randn(4096, inner), torch.randn(inner, outer)
        out = torch.empty(4096, outer)
        for _ in range(8):
            begin = time.perf_counter()
            torch.mm(left, right, out=out)
            best = max(best, 2 * 4096 * inner * outer / (time.perf_counter() - begin))
    return best


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
