"""How many trained tokens a second do SFT, DPO and reward modelling get through, against TRL's trainers?

Every step trains the same rows, already tokenised by medray, in both: so the losses must agree, and are compared.

python -m benchmarks.supervised_vs_trl --stage sft --rounds 2 --steps 3     (pip install trl first)
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.record import spread, write_record
from benchmarks.sides import run_medray, run_trl
from benchmarks.workloads import SUPERVISED, Supervised, supervised_settings, tokenised
from medray.types import PromptTree

WARM_UP = 1


def main(
    stage: Annotated[str, typer.Option(help=f"One of: {', '.join(SUPERVISED)}.")] = "sft",
    rounds: Annotated[int, typer.Option(help="Times the two sides take turns.")] = 2,
    steps: Annotated[int, typer.Option(help="Counted steps a round, after one warm-up step.")] = 3,
    rows: Annotated[int, typer.Option(help="Rows in each step.")] = 32,
    micro_batch: Annotated[int, typer.Option(help="TRL's per-device batch.")] = 8,
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Time both sides and print the ratio of the medians."""
    ours: list[float] = []
    theirs: list[float] = []
    losses: dict[str, list[float]] = {}
    our_peak = their_peak = 0.0
    with tempfile.TemporaryDirectory() as folder:
        workload, trees = _whole_batches(stage, rows, micro_batch)
        table = Path(folder, "rows.json")
        table.write_text(json.dumps([_lists(tree) for tree in trees]), encoding="utf-8")
        for number in range(rounds):
            settings = supervised_settings(
                workload, len(trees), f"{folder}/run{number}", WARM_UP + steps
            )
            ran = run_medray(stage, settings)
            ours += [row["time/step_s"] for row in ran.steps[WARM_UP:]]
            losses["medray"] = [row["loss/total"] for row in ran.steps]
            our_peak = max(our_peak, ran.peak_gib)
            trl = run_trl("trl_supervised", stage, str(table), WARM_UP + steps, micro_batch)
            theirs += trl["step_s"][WARM_UP:]
            losses["trl"] = trl["loss"]
            their_peak = max(their_peak, trl["peak_gib"])
            print(
                f"round {number + 1}/{rounds}: medray {ours[-steps:]}, TRL {theirs[-steps:]}",
                flush=True,
            )
    trained = sum(int(c.trained.sum()) for tree in trees for c in tree.continuations)
    medray, other = spread(ours), spread(theirs)
    results: dict[str, Any] = {
        "rows": len(trees),
        "trained_tokens": trained,
        "medray": medray
        | {"trained_tokens_per_s": trained / medray["median_s"], "peak_gib": our_peak},
        "trl": other
        | {"trained_tokens_per_s": trained / other["median_s"], "peak_gib": their_peak},
        "losses": losses,
        "ratio": other["median_s"] / medray["median_s"],
    }
    settings = {
        "stage": stage, "rounds": rounds, "steps": steps, "rows": rows, "warm_up": WARM_UP, "micro_batch": micro_batch
    }  # fmt: skip
    write_record(out / f"{stage}_vs_trl.json", main.__doc__ or "", settings, results)
    print(f"losses: medray {losses['medray']}, TRL {losses['trl']}")
    print(
        f"{stage}: medray {medray['median_s']:.1f} s ({our_peak:.1f} GiB), TRL {other['median_s']:.1f} s "
        f"({their_peak:.1f} GiB) a step of {len(trees)} rows and "
        f"{trained} trained tokens: {results['ratio']:.2f}x"
    )


def _whole_batches(stage: str, rows: int, micro_batch: int) -> tuple[Supervised, list[PromptTree]]:
    """At most `rows` rows, of which so many are short enough that TRL's batches are all full."""
    for number in range(rows, 0, -1):
        workload = SUPERVISED[stage](number)
        trees = tokenised(workload)
        if len(trees) % micro_batch == 0:
            return workload, trees
    raise typer.BadParameter(f"no {micro_batch} rows of {rows} are short enough")


def _lists(tree: PromptTree) -> dict[str, Any]:
    return {
        "prompt": tree.prompt_ids.tolist(),
        "continuations": [
            {"token_ids": c.token_ids.tolist(), "trained": c.trained.tolist()}
            for c in tree.continuations
        ],
    }


if __name__ == "__main__":
    typer.run(main)
