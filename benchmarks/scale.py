"""Does the driver keep up? The real driver and pools over scripted workers that sleep as real ones would compute.

python -m benchmarks.scale --workers 1,8,64,512 --steps 6
"""

from __future__ import annotations

import io
import os
import statistics
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import ray
import typer

from benchmarks.record import write_record
from benchmarks.scripted import Pace, ScriptedGrader, ScriptedLearner, spawner
from medray.actors.cluster.connect import connected
from medray.actors.collector import Collector
from medray.actors.ray_calls.wait import gather
from medray.actors.rollout.pool import RolloutPool
from medray.actors.scoring.reward_pool import RewardPool
from medray.actors.supervision.incidents import Incidents
from medray.actors.sync import make_sync
from medray.actors.training.learner_group import LearnerGroup
from medray.actors.workers import Workers
from medray.config.grpo import GrpoJob
from medray.observability.console.plain import PlainConsole
from medray.training.grpo import train_grpo
from medray.training.steps import PromptSets, Run
from medray.types import Prompt, Record

SAMPLES = 8
PROMPT_TOKENS = 200
WARM_UP = 2  # steps in which the pipeline fills


def main(
    workers: Annotated[str, typer.Option(help="Numbers of rollout workers.")] = "1,8,64,512",
    steps: Annotated[int, typer.Option(help="Counted steps, after two of warm-up.")] = 6,
    groups_per_worker: Annotated[int, typer.Option(help="Groups a worker and step.")] = 8,
    group_s: Annotated[float, typer.Option(help="Mean seconds a group takes.")] = 30.0,
    max_lag: Annotated[int, typer.Option(help="rollout.max_lag.")] = 2,
    hosts: Annotated[int, typer.Option(help="Processes that hold the scripted workers.")] = 2,
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Run the asynchronous driver at each size; report its share of a step, throughput against ideal, and memory."""
    pace = Pace(group_s=group_s, update_s=group_s / 3, load_s=min(1.0, group_s / 30))
    results: dict[str, Any] = {}
    with connected():
        for count in (int(n) for n in workers.split(",")):
            job = _job(count, groups_per_worker, WARM_UP + steps, max_lag, pace)
            results[str(count)] = _measure(job, count, min(hosts, count), pace)
            line = ", ".join(f"{k} {v:.4g}" for k, v in results[str(count)].items())
            print(f"{count} workers: {line}", flush=True)
    settings = {
        "workers": workers, "steps": steps, "warm_up": WARM_UP, "groups_per_worker": groups_per_worker,
        "samples": SAMPLES, "max_lag": max_lag, "hosts": hosts, "pace": asdict(pace),
    }  # fmt: skip
    write_record(out / "scale.json", main.__doc__ or "", settings, results)


def _job(count: int, groups_per_worker: int, num_steps: int, max_lag: int, pace: Pace) -> GrpoJob:
    size = count * groups_per_worker
    return GrpoJob.model_validate(
        {
            "num_steps": num_steps,
            "rollout": {
                "prompts_per_step": size, "samples_per_prompt": SAMPLES, "max_lag": max_lag,
                "max_new_tokens": pace.tokens, "engine": {"max_num_seqs": pace.slots * SAMPLES},
            },
            "evaluation": {"num_items": 0, "every": 10**6},
            "checkpoint": {"every": 10**6},
            "logging": {"rollouts": False},
            "workers": {"rollout": {"count": count}},
        }
    )  # fmt: skip


def _measure(job: GrpoJob, count: int, hosts: int, pace: Pace) -> dict[str, float]:
    incidents = Incidents()
    rollouts = RolloutPool(spawner(hosts, pace), count, job, incidents)
    graders = RewardPool(lambda i: ScriptedGrader.remote(pace), 1, job, incidents)
    learners = LearnerGroup([ScriptedLearner.remote(pace)], job)
    collector = Collector(rollouts, graders, None, job.deadlines)
    workers = Workers(
        job, learners, rollouts, graders, collector, make_sync(job, learners, rollouts), incidents
    )
    gather(rollouts.start(), deadline_s=120, doing="start")
    ids = np.arange(PROMPT_TOKENS, dtype=np.int32)
    prompts = tuple(
        Prompt(Record(str(i), ()), ids) for i in range(job.rollout.prompts_per_step * 4)
    )
    watch = _Watch()
    run = Run(PromptSets(prompts, ()), watch, PlainConsole(job.num_steps, io.StringIO()))
    train_grpo(job, workers, run)
    for actor in [*graders.graders, *learners.ranks]:
        ray.kill(actor)
    # Groups a second that all slots together can finish, whatever the driver does.
    ideal = count * pace.slots / pace.group_s
    return watch.summary(job.rollout.prompts_per_step, ideal)


@dataclass
class _Mark:
    wall_s: float
    process_s: float
    threads_s: float
    rss_mib: float

    @classmethod
    def now(cls) -> _Mark:
        names = ("MainThread", "rollouts")
        threads = [t for t in threading.enumerate() if t.name in names and t.ident]
        used = [time.clock_gettime(time.pthread_getcpuclockid(t.ident or 0)) for t in threads]
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        rss = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        return cls(time.perf_counter(), time.process_time(), sum(used), rss)


@dataclass
class _Watch:
    """A sink that looks at the clocks and the memory of its own process at the end of every step."""

    marks: list[_Mark] = field(default_factory=list[_Mark])
    lags: list[float] = field(default_factory=list[float])

    def record(self, step: int, metrics: dict[str, float]) -> None:
        self.marks.append(_Mark.now())
        self.lags.append(metrics["async/lag_max"])

    def evaluation(self, step: int, metrics: dict[str, float]) -> None:
        pass

    def close(self) -> None:
        pass

    def summary(self, groups_per_step: int, ideal_per_s: float) -> dict[str, float]:
        """Over the steps after the warm-up; the last is left out, since nothing is sampled ahead of it."""
        first, last = self.marks[WARM_UP - 1], self.marks[-2]
        steps = len(self.marks) - 1 - WARM_UP
        wall = last.wall_s - first.wall_s
        rss = [m.rss_mib for m in self.marks[WARM_UP - 1 :]]
        half = len(rss) // 2
        return {
            "step_s": wall / steps,
            "groups_per_s": groups_per_step * steps / wall,
            "of_ideal": groups_per_step * steps / wall / ideal_per_s,
            "driver_share": (last.threads_s - first.threads_s) / wall,
            "driver_process_share": (last.process_s - first.process_s) / wall,
            "rss_first_half_mib": statistics.mean(rss[:half]),
            "rss_second_half_mib": statistics.mean(rss[half:]),
            "lag_max": max(self.lags),
        }


if __name__ == "__main__":
    typer.run(main)
