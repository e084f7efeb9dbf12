"""Noticing that a run cannot learn: every group ties, so no response is better than another."""

from __future__ import annotations

from collections.abc import Sequence

from medray.config.grpo import GrpoJob
from medray.observability.console.base import Console
from medray.training.batch import is_tied
from medray.types import Floats

ADVICE = (
    "no learning signal: all groups tied in the last {n} steps, so the weights did not change. Try a reward "
    "with partial credit "
    "(rewards.0.options.strict=false), more samples per prompt "
    "(rollout.samples_per_prompt), a higher rollout.temperature, or easier prompts"
)


class NoSignalMonitor:
    """Counts steps in a row without signal and says so every `no_signal_patience` of them."""

    def __init__(self, job: GrpoJob, console: Console) -> None:
        self.patience = job.no_signal_patience
        self.silenced = job.algorithm.zero_advantages or not job.algorithm.uses_advantages
        self.console = console
        self.in_a_row = 0

    def watch(self, step: int, advantages: Sequence[Floats]) -> None:
        """Record one step, and print advice when many in a row had only tied groups.

        Args:
            step: number of the step, for the message.
            advantages: [P][G], per group.
        """
        if self.silenced or not all(is_tied(a) for a in advantages):
            self.in_a_row = 0
            return
        self.in_a_row += 1
        if self.in_a_row % self.patience == 0:
            self.console.note(f"step {step}: " + ADVICE.format(n=self.in_a_row))
