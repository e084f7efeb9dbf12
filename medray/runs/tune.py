"""Trials of a job with other settings of its engine and its threads: a few real steps each."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

from medray.actors.cluster.connect import connected
from medray.config.cores import usable_cores
from medray.config.grpo import GrpoJob
from medray.config.ppo import PpoJob
from medray.config.rl import RlJob
from medray.errors import MedrayError
from medray.planning.search import Costs, knobs, search
from medray.planning.tuned import Situation, Values, defaults, describe, keep, with_values
from medray.runs.launch import run_rl
from medray.storage.metrics_file import read_metrics
from medray.training.grpo import train_grpo
from medray.training.ppo import train_ppo

WARM_UP = 1
NEVER = 10**9
PHASES = ("rollout", "update", "step")


def tune(job: RlJob, num_steps: int, tell: Callable[[str], None]) -> tuple[Values, Path, float]:
    """Find the engine's settings and the threads of both sides, and keep them for this machine.

    Args:
        job: what will be trained; its data, model and batch are those of the trials.
        num_steps: counted steps of a trial, after one that is not.
        tell: is given a line for every trial.

    Returns:
        The values, the file they were put into, and the share of a step's time that they save.
    """
    start = defaults(job)

    def measure(values: Values) -> Costs:
        try:
            costs = trial(with_values(job, values), num_steps)
        except MedrayError as error:
            if values == start:
                raise
            tell(f"{describe(values)}: fails: {error}")
            return dict.fromkeys(PHASES, math.inf)
        shown = ", ".join(f"{phase} {costs[phase] * 1000:.1f}" for phase in PHASES)
        tell(f"{describe(values)}: {shown} ms a token")
        return costs

    situation = Situation.of(job)
    with connected():
        tried = knobs(start, usable_cores(), ahead=situation.ahead)
        values, measured = search(start, tried, measure)
    return values, keep(situation, values, measured), measured["saved"]


def trial(job: RlJob, num_steps: int) -> Costs:
    """Train a few steps in a folder that is thrown away; seconds a sampled token of each phase."""
    with tempfile.TemporaryDirectory(prefix="medray-tune-") as folder:
        short = with_values(
            job,
            {
                "out": f"{folder}/run",
                "mirror": None,
                "num_steps": WARM_UP + num_steps,
                "checkpoint.every": NEVER,
                "evaluation.num_items": 0,
                "logging.console": "quiet",
                "logging.tensorboard": False,
                "logging.trackers": [],
            },
        )
        if isinstance(short, PpoJob):
            run_rl(short, train_ppo)
        else:
            run_rl(cast(GrpoJob, short), train_grpo)
        rows = [row.metrics for row in read_metrics(Path(short.out)) if row.kind == "train"]
    counted = rows[WARM_UP:]
    tokens = sum(row["rollout/tokens"] for row in counted)
    return {
        phase: sum(row[f"time/{phase}_s"] for row in counted) / max(tokens, 1) for phase in PHASES
    }
