"""Where the seconds of a weight sync go, part by part, beside the time the same bytes take to be copied once.

Learner, object store and engine are the real ones, in one process and one after another, so that no part waits.

python -m benchmarks.weight_sync --rounds 5
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.record import write_record
from benchmarks.work import copy_seconds

TOLERANCE = 1e-3  # nats between engine and learner, float32


def main(
    model: Annotated[str, typer.Option(help="Model folder or catalogue name.")] = "smollm2-135m",
    rounds: Annotated[int, typer.Option(help="Syncs timed, after a warm-up.")] = 5,
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Sync again and again; print the median of every part."""
    import ray
    import torch

    from medray.actors.weights.publish import Publisher, arrays
    from medray.config.cluster import SyncConfig
    from medray.config.learner import LearnerConfig
    from medray.config.model import ModelConfig
    from medray.config.rollout import EngineConfig
    from medray.engines.vllm.engine import VllmEngine
    from medray.learners.probe import make_probe
    from medray.learners.scorer import Scorer
    from medray.models.checkpoints.export import named_weights, tied_names
    from medray.models.load import load_policy

    class TimedEngine(VllmEngine):
        """Times the parts of `load_weights`."""

        def begin_update(self, probe: Any) -> None:
            with clock("engine: close, cache filled under the old weights"):
                super().begin_update(probe)

        def transfer(self, method: str, *arguments: Any) -> None:
            with clock(PARTS[method]):
                super().transfer(method, *arguments)

        def end_update(self, manifest: Any, *, tolerance: float) -> float:
            with clock("engine: cache reset, probe scored and compared"):
                return super().end_update(manifest, tolerance=tolerance)

    parts: dict[str, list[float]] = {}

    @contextmanager
    def clock(part: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        parts.setdefault(part, [0.0])[-1] += time.perf_counter() - begin

    threads = os.cpu_count() or 1
    config, sync = ModelConfig(path=model), SyncConfig()
    engine = TimedEngine(config, EngineConfig(), max_model_len=1024, threads=threads)
    policy = load_policy(config)
    scorer, publisher = Scorer(policy, config=LearnerConfig()), Publisher(sync.bucket_mb << 20)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    torch.set_num_threads(threads)
    nbytes = 0
    for version in range(rounds + 1):
        for seconds in parts.values():
            seconds.append(0.0)
        with clock("learner: probe scored"):
            probe = make_probe(scorer)
        with clock("learner: weights put into the object store"):
            weights = publisher.whole(version, named_weights(policy), tied_names(policy), probe)
        with clock("engine: weights fetched"):
            tensors = list(arrays(weights, deadline_s=60))
        nbytes = sum(a.nbytes for name, a in tensors if name not in weights.aliases)
        engine.load_weights(weights.manifest, tensors, tolerance=TOLERANCE)
    medians = {part: statistics.median(seconds[1:]) for part, seconds in parts.items()}
    results = {
        "weights_mb": nbytes / 1e6,
        "one_copy_s": copy_seconds(nbytes),
        "sync_s": sum(medians.values()),
        "parts_s": medians,
    }
    write_record(out / "weight_sync.json", main.__doc__ or "", {"model": model, "rounds": rounds}, results)  # fmt: skip
    for part, seconds in medians.items():
        print(f"{seconds:7.3f} s  {part}")
    print(f"{results['sync_s']:7.3f} s  for {nbytes / 1e6:.0f} MB")
    print(f"{results['one_copy_s']:7.3f} s  the same bytes copied once")


PARTS = {
    "start_weight_update": "engine: layers back to the checkpoint's layout",
    "update_weights": "engine: weights loaded and packed for the kernels",
    "finish_weight_update": "engine: layers closed",
}


if __name__ == "__main__":
    typer.run(main)
