"""Whole batches from an engine that is stepped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from medray.engines.base import Generated, GroupFailed
from medray.types import GenerateSpec, Prompt


class _Stepped(Protocol):
    @property
    def busy(self) -> bool: ...

    def submit(self, key: int, prompt: Prompt, seed: int, spec: GenerateSpec) -> None: ...

    def step(self) -> Sequence[Generated | GroupFailed]: ...

    def abort(self) -> None: ...


class Generation:
    """The `generate` of engines that have `busy`, `submit`, `step` and `abort`."""

    def generate(
        self: _Stepped, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec
    ) -> Iterator[Generated]:
        """Sample `spec.num_samples` responses a prompt and yield prompts as they complete.

        Raises:
            EnvironmentFailed: an environment did not answer.
        """
        for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            self.submit(index, prompt, seed, spec)
        try:
            while self.busy:
                for done in self.step():
                    if isinstance(done, GroupFailed):
                        raise done.error
                    yield done
        finally:
            self.abort()  # what is left where the consumer left early
