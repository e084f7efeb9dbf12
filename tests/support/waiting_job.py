"""A job that waits for an actor's answer, as drivers do most of the time."""

from __future__ import annotations

import time

from medray.commands.job import run_job
from medray.config.base import Section


class Waiting(Section):
    """What it waits for."""

    seconds: float = 60


def wait(job: Waiting) -> None:
    """Start Ray, say so, and wait."""
    import ray

    from medray.actors.cluster.connect import connected

    with connected():
        sleeper = ray.remote(lambda s: time.sleep(s)).options(num_cpus=0).remote(job.seconds)
        print("waiting", flush=True)
        ray.get(sleeper)


if __name__ == "__main__":
    run_job(Waiting, wait, lambda _: "", __doc__ or "")
