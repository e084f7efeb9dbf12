"""Batches as the training loop makes them, without the loop."""

from __future__ import annotations

from medray.config.grpo import GrpoJob
from medray.training.batch import Batch
from medray.training.sampling import PromptSource, estimate_batch


class BatchSource:
    """Samples and estimates one step after another."""

    def __init__(self, job: GrpoJob, source: PromptSource) -> None:
        self.job = job
        self.source = source

    def next_batch(self) -> Batch:
        return estimate_batch(self.job, self.source.next_groups(), self.source.collector)
