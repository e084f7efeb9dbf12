"""What a rollout engine can do, whoever implements it. No Ray in here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medray.types import GenerateSpec, Prompt, Response, WeightManifest

NamedArray = tuple[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Generated:
    """The responses to one prompt of an order, as soon as all of them are complete."""

    index: int  # the caller's key: position in the order
    responses: tuple[Response, ...]  # [G]
    num_cached_tokens: int  # prompt tokens, over the G samples, that came from the prefix cache
    oldest_version: int = -1  # of the weights that drew any of the tokens
    newest_version: int = -1


class RolloutEngine(Protocol):
    """A sampler whose weights the learner replaces, between responses or in the middle of them."""

    version: int
    """Version of the weights held; -1 before the first verified sync."""

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to compute."""
        ...

    def submit(self, key: int, prompt: Prompt, seed: int, spec: GenerateSpec) -> None:
        """Begin to sample `spec.num_samples` responses to a prompt."""
        ...

    def step(self) -> list[Generated]:
        """Draw the next token of every running response; returns the groups that became whole."""
        ...

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec
    ) -> Iterator[Generated]:
        """Sample `spec.num_samples` responses a prompt and yield prompts as they complete."""
        ...

    def load_weights(
        self,
        manifest: WeightManifest,
        tensors: Iterable[NamedArray],
        *,
        tolerance: float,
        kept: frozenset[str] = frozenset(),
    ) -> float:
        """Replace all weights but `kept`, which are as they were, as one transaction and prove it with the probe.

        Responses under way stand still meanwhile and go on under the new weights, their context computed anew.

        Returns:
            max |engine - learner| log-probability over the probe, nats.

        Raises:
            MissingTensorError: the delivery is not exactly what the manifest promises; nothing is served.
            StaleCacheError: the prefix cache survived the update.
            LogprobMismatchError: the probe's gap exceeds `tolerance`.
        """
        ...

    def untouched(self) -> tuple[int, ...]:
        """Keys of the groups under way of which no token is drawn yet, as of the last change of weights."""
        ...

    def reset_cache(self) -> None:
        """Forget cached prompts, so that what is computed depends on the coming order alone."""
        ...

    def sleep(self) -> None:
        """Give accelerator memory back while the learner updates (colocated layouts)."""
        ...

    def wake(self) -> None:
        """Take the memory again; the weights must be loaded anew before the next order."""
        ...


def prompt_seed(run_seed: int, position: int) -> int:
    """Seed of the prompt at `position` of the run's stream, the same whichever worker samples it."""
    return int(np.random.SeedSequence([run_seed, position]).generate_state(1)[0] >> 1)
