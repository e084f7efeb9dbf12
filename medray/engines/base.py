"""The protocols of engines. Independent of Ray and of any inference library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medray.errors import EnvironmentFailed
from medray.types import (
    GenerateSpec,
    Probe,
    Prompt,
    Response,
    RolloutGroup,
    TokenIds,
    TopTokens,
    WeightManifest,
)

NamedArray = tuple[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Generated:
    """All responses to one prompt, returned when the last of them is complete."""

    index: int  # the caller's key
    responses: tuple[Response, ...]  # [G]
    num_cached_tokens: int  # prompt tokens served by the prefix cache, summed over the G samples
    oldest_version: int = -1  # policy versions that sampled the tokens
    newest_version: int = -1


@dataclass(frozen=True, slots=True)
class GroupFailed:
    """A group that was given up because its environment failed; other groups continue."""

    index: int  # the caller's key
    error: EnvironmentFailed


class RolloutEngine(Protocol):
    """A sampler whose weights the learner replaces, between responses or in the middle of them.

    Invariants:
        - `version` is the version of every weight the engine samples with. It is -1 from the start of an update until
          the probe has verified it, and nothing is sampled meanwhile.
        - Weights change only between two calls of `step`.
        - With fixed weights, a response depends only on prompt, seed and spec, not on what else is in the batch, as far
          as the kernels are batch-invariant (float32 on a CPU is).
        - An engine is not thread-safe: one thread calls all methods.
    """

    version: int
    """Policy version of the weights; -1 before the first verified sync and during an update."""

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to compute."""
        ...

    def submit(self, key: int, prompt: Prompt, seed: int, spec: GenerateSpec) -> None:
        """Start sampling `spec.num_samples` responses to a prompt; `key` comes back as `Generated.index`."""
        ...

    def step(self) -> Sequence[Generated | GroupFailed]:
        """Sample the next token of every running response; returns the groups that are complete or failed."""
        ...

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec
    ) -> Iterator[Generated]:
        """Sample `spec.num_samples` responses per prompt, and yield each prompt's group once it is complete."""
        ...

    def load_weights(
        self,
        manifest: WeightManifest,
        tensors: Iterable[NamedArray],
        *,
        tolerance: float,
        kept: frozenset[str] = frozenset(),
    ) -> float:
        """Replace all weights except `kept` in one transaction, and verify them with the manifest's probe.

        Running responses pause and continue with the new weights; their KV cache is recomputed.

        Args:
            manifest: names, shapes and dtypes of all tensors, and the probe.
            tensors: name and host array of each tensor.
            tolerance: largest accepted probe gap, nats.
            kept: names of tensors that are unchanged and not sent.

        Returns:
            max |engine - learner| log-probability over the probe, nats.

        Raises:
            MissingTensorError: the tensors are not exactly those of the manifest; the engine stays closed.
            StaleCacheError: the prefix cache survived the update.
            LogprobMismatchError: the probe gap exceeds `tolerance`.
        """
        ...

    def untouched(self) -> tuple[int, ...]:
        """Keys of the running groups that had no token yet when the weights last changed."""
        ...

    def reset_cache(self) -> None:
        """Clear the prefix cache, so that later results do not depend on earlier requests."""
        ...

    def sleep(self) -> None:
        """Release accelerator memory while the learner updates (`colocate`)."""
        ...

    def wake(self) -> None:
        """Reserve the memory again; weights must be loaded before the next request."""
        ...


class DirectEngine(RolloutEngine, Protocol):
    """A rollout engine that the learner sends weights to without the object store (`sync.backend` nccl, ipc)."""

    def begin_update(self, probe: Probe) -> None:
        """Close the engine; nothing is served from here on unless the transaction ends well."""
        ...

    def transfer(self, method: str, *arguments: Any) -> None:
        """Receive one call of the library's transfer protocol, made by its `WeightSender`."""
        ...

    def end_update(self, manifest: WeightManifest, *, tolerance: float) -> float:
        """Prove the weights and open the engine; returns and raises as `load_weights` does."""
        ...


class WeightSender(Protocol):
    """The learner's side of a direct transfer."""

    def send(self) -> None:
        """Push every weight; returns when all engines have loaded it."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """One prompt of a batch inference, and its place in the whole input, from which its seed is made."""

    position: int
    token_ids: TokenIds  # [T]


@dataclass(frozen=True, slots=True)
class Answer:
    """Text of one generated answer, why it ended, and its length in tokens."""

    text: str
    finish_reason: str
    num_tokens: int


class BatchEngine(Protocol):
    """Answers many prompts with weights that do not change."""

    max_model_len: int
    """Tokens of the longest prompt and answer together."""

    def generate(self, orders: Sequence[Order]) -> Sequence[Sequence[Answer]]:
        """The answers to each order; the same for an order whatever is computed with it."""
        ...


class TeacherEngine(Protocol):
    """Reads what a student sampled."""

    def top_tokens(self, group: RolloutGroup) -> list[TopTokens]:
        """For each response, the most likely tokens in the place of each that was sampled."""
        ...


def prompt_seed(run_seed: int, position: int) -> int:
    """Derive the seed of the prompt at `position` of the stream; the same on whichever worker samples it."""
    return int(np.random.SeedSequence([run_seed, position]).generate_state(1)[0] >> 1)
