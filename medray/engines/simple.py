"""A rollout engine of one's own from two methods: the model's logits, and the replacement of a tensor.

It computes one response at a time and keeps no KV cache. Use it for a model that no inference library supports, or as
the start of a faster engine: override `sample`, then implement `medray.engines.base.RolloutEngine` in full.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medray.data.templates.registry import Stops, stops_of
from medray.engines.base import Generated, GroupFailed, NamedArray
from medray.engines.dialogue import Dialogues, EnvironmentTurn
from medray.engines.generation import Generation
from medray.engines.kind import EngineStart
from medray.engines.proof import require_agreement, require_shape, require_whole
from medray.engines.requests import Group, Sample, first_stop
from medray.engines.thoughts import Thoughts
from medray.errors import ConfigError, EnvironmentFailed
from medray.models.adapters.chain import adapter_chain
from medray.models.tokenizer import load_tokenizer, model_stops
from medray.types import Floats, GenerateSpec, Prompt, WeightManifest


class SimpleEngine(Generation, ABC):
    """Samples the groups it was given in their order; derive from it, and write `logits` and `load`."""

    def __init__(self, start: EngineStart) -> None:
        """Read the tokenizer; the derived class loads the model from `self.path`.

        Raises:
            ConfigError: weights arrive in a way that needs a `DirectEngine`.
        """
        if start.backend != "object_store":
            raise ConfigError(
                f"sync.backend={start.backend}: a SimpleEngine takes weights from the object_store"
            )
        self.version = -1
        self.path = adapter_chain(start.model.path).weights
        """Folder or hub id of the model; adapters arrive merged, with the first weights."""
        self.tokenizer = load_tokenizer(start.model)
        self.stops = model_stops(start.model, self.tokenizer)
        self._dialogues = start.dialogues
        self._thoughts = Thoughts(self.tokenizer)
        self._waiting: deque[Group] = deque()

    @abstractmethod
    def logits(self, token_ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Compute the logits [T, V] after each of `token_ids`."""

    @abstractmethod
    def load(self, name: str, array: npt.NDArray[Any]) -> None:
        """Replace the tensor `name` (as in the model's state dict); `array` is float32 for bfloat16 weights."""

    def sample(
        self, token_ids: Sequence[int], seed: int, spec: GenerateSpec, max_new_tokens: int
    ) -> tuple[list[int], list[float]]:
        """Sample until `is_over`, or up to `max_new_tokens`.

        Returns:
            The new tokens, and the log-probability of each under `spec.sampling` (nats).
        """
        draw = np.random.default_rng(seed)
        temperature = spec.sampling.temperature
        tokens: list[int] = []
        logp: list[float] = []
        while len(tokens) < max_new_tokens and not self.is_over(tokens, spec):
            scores = _log_softmax(self.logits([*token_ids, *tokens])[-1] / (temperature or 1.0))
            probabilities = np.exp(scores.astype(np.float64))
            token = int(
                draw.choice(len(scores), p=probabilities / probabilities.sum())
                if temperature
                else scores.argmax()
            )
            tokens.append(token)
            logp.append(float(scores[token]))
        return tokens, logp

    def is_over(self, tokens: Sequence[int], spec: GenerateSpec) -> bool:
        """Whether a response ends with these tokens, at a stop token or a stop string."""
        stops = self._stops_of(spec)
        if tokens and tokens[-1] in stops.token_ids:
            return True
        return bool(stops.texts) and first_stop(self._text(tokens), stops.texts, 0) >= 0

    # The RolloutEngine ----------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a group is waiting."""
        return bool(self._waiting)

    def submit(self, key: int, prompt: Prompt, seed: int, spec: GenerateSpec) -> None:
        """Put a group at the end of the queue."""
        self._waiting.append(Group(key, prompt, seed, spec, thoughts=self._thoughts))

    def step(self) -> list[Generated | GroupFailed]:
        """Sample the first group of the queue."""
        group = self._waiting.popleft()
        try:
            for sample in group.samples:
                self._complete(sample, group.spec)
        except EnvironmentFailed as error:
            return [GroupFailed(group.key, error)]
        done = group.result(self.version)
        assert done is not None
        return [done]

    def abort(self) -> None:
        """Forget the groups in the queue."""
        self._waiting.clear()

    def load_weights(
        self,
        manifest: WeightManifest,
        tensors: Iterable[NamedArray],
        *,
        tolerance: float,
        kept: frozenset[str] = frozenset(),
    ) -> float:
        """Replace all weights except `kept`, and verify them with the manifest's probe."""
        self.version = -1
        delivered: set[str] = set()
        for name, array in tensors:
            if (promised := require_shape(manifest, (name, array))) is not None:
                self.load(name, _as_float(array) if promised.dtype == "bfloat16" else array)
            delivered.add(name)
        require_whole(manifest, delivered, kept)
        ids = manifest.probe.token_ids
        scores = _log_softmax(self.logits([int(token) for token in ids[:-1]]))
        logp: Floats = scores[np.arange(len(ids) - 1), ids[1:]]
        gap = require_agreement(manifest, logp, tolerance)
        self.version = manifest.version
        return gap

    def untouched(self) -> tuple[int, ...]:
        """Keys of all groups in the queue: weights change only between two of them."""
        return tuple(group.key for group in self._waiting)

    def reset_cache(self) -> None:
        """Do nothing: there is no cache."""

    def sleep(self) -> None:
        """Close the engine until weights are loaded; override it to release the model's memory."""
        self.version = -1

    def wake(self) -> None:
        """Do nothing; override it together with `sleep`."""

    def _complete(self, sample: Sample, spec: GenerateSpec) -> None:
        """Sample the policy's turns until the response, or the dialogue, is over."""
        while True:
            tokens, logp = self.sample(sample.token_ids, sample.seed, spec, sample.tokens_left)
            sample.extend(tokens, logp, self.version)
            text = self._text(tokens)
            if (at := first_stop(text, self._stops_of(spec).texts, 0)) >= 0:
                text = text[:at]
            if not self.is_over(tokens, spec):
                return sample.finish("length", text)
            if self._dialogues is None:
                return sample.finish("stop", text)
            sample.end_turn(text)
            if len(sample.turns) >= self._dialogues.max_turns or sample.tokens_left <= 0:
                return sample.finish("stop")
            said = self._said(self._dialogues, sample)
            if said is None or not sample.add_turn(said):
                return sample.finish("stop" if said is None else "length")

    def _said(self, dialogues: Dialogues[Sample], sample: Sample) -> EnvironmentTurn | None:
        dialogues.ask(sample, sample.group.prompt.record, sample.turns)
        while not (answers := dialogues.answered(idle=True)):
            pass  # `answered` waits a moment each time
        [(_, said)] = answers
        if isinstance(said, EnvironmentFailed):
            raise said
        return said

    def _stops_of(self, spec: GenerateSpec) -> Stops:
        return stops_of(self.tokenizer, spec.stop).joined(self.stops)

    def _text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True)


def _log_softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """In float64 over the last axis."""
    wide = logits.astype(np.float64)
    wide = wide - wide.max(axis=-1, keepdims=True)
    return (wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))).astype(np.float32)


def _as_float(bits: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Bfloat16 that travels as its uint16 bits, which numpy can hold."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
