"""Log-probabilities or scores of trees under a model: the one forward pass that training and scoring share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import zip_longest
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from medray.config.learner import LearnerConfig
from medray.data.batches.packing import PackedRow, build_row
from medray.learners.objectives.base import Output
from medray.losses.logprobs import token_logprobs
from medray.models.neftune import EmbeddingNoise
from medray.models.packed import PackedModel, PolicyModel
from medray.models.reward.model import RewardModel
from medray.types import Continuation, Floats, PromptTree

T = TypeVar("T")


class Scorer:
    """Scores packed rows under `policy`, at the temperature that the engine samples with."""

    def __init__(
        self, policy: PackedModel, *, temperature: float = 1.0, config: LearnerConfig | None = None
    ) -> None:
        self.policy = policy
        self.temperature = temperature
        self.config = config or LearnerConfig()

    def outputs(
        self, row: PackedRow, what: Output, noise: EmbeddingNoise | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What an objective reads of a row, and the columns that come with it."""
        if what == "score":
            return self.sequence_scores(row, noise), {}
        if what == "step":
            return self.step_scores(row, noise), {}
        if what == "value":
            return self.token_values(row, noise), {}
        hidden = self.predicting_states(row, noise)
        return (hidden, {}) if what == "hidden" else self.read(hidden, row, what)

    def token_logp(self, row: PackedRow, temperature: float | None = None) -> Tensor:
        """Log-probability (nats) [N] of the row's trained tokens; carries grad where enabled."""
        return self.read(self.predicting_states(row), row, temperature=temperature)[0]

    def predicting_states(self, row: PackedRow, noise: EmbeddingNoise | None = None) -> Tensor:
        """Last hidden states [N, D] of the tokens that precede the row's trained ones."""
        with self._autocast():
            hidden = self.policy.hidden_states(row, noise)
        return hidden.index_select(0, torch.as_tensor(row.predictors, device=hidden.device))

    def read(
        self,
        hidden: Tensor,
        row: PackedRow,
        what: Output = "logp",
        *,
        temperature: float | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Log-probability (nats) [N] of the row's trained tokens from `predicting_states`, and columns beside it."""
        head = cast(PolicyModel, self.policy).head()
        extra: dict[str, Tensor] = {}
        if what == "logp+hit":
            extra["hit"] = torch.empty(len(row.targets), dtype=torch.bool, device=hidden.device)
        if what == "logp+collision":
            extra["collision"] = torch.empty(len(row.targets), device=hidden.device)
        with self._autocast():
            logp, entropy = token_logprobs(
                hidden,
                head.weight,
                torch.as_tensor(row.targets, device=hidden.device),
                bias=head.bias,
                temperature=self.temperature if temperature is None else temperature,
                softcap=head.softcap,
                scale=head.scale,
                chunk=self.config.head_chunk,
                with_entropy=what == "logp+entropy",
                hits=extra.get("hit"),
                collisions=extra.get("collision"),
            )
        return logp, extra if entropy is None else {"entropy": entropy}

    def token_values(self, row: PackedRow, noise: EmbeddingNoise | None = None) -> Tensor:
        """A critic's value [N] of the state before each trained token; carries grad where enabled."""
        with self._autocast():
            return cast(RewardModel, self.policy).values(row, noise)

    def sequence_scores(self, row: PackedRow, noise: EmbeddingNoise | None = None) -> Tensor:
        """A reward model's score of each continuation [S] of a whole row; carries grad where enabled."""
        with self._autocast():
            return cast(RewardModel, self.policy).scores(row, noise)

    def step_scores(self, row: PackedRow, noise: EmbeddingNoise | None = None) -> Tensor:
        """A process reward model's score (log-odds) [N] at each trained token of a whole row; carries grad where
        enabled."""
        with self._autocast():
            return cast(RewardModel, self.policy).step_scores(row, noise)

    def logprobs(
        self, trees: Sequence[PromptTree], *, temperature: float | None = None, adapter: bool = True
    ) -> list[tuple[Floats, ...]]:
        """Log-probability (nats) of every trained token, per tree and continuation.

        Where weights are spread over ranks, all of them must call it, with any number of trees.

        Args:
            trees: what to score; neighbours share rows within the token budget.
            temperature: None takes the sampling temperature.
            adapter: False scores under the base model, the reference policy of LoRA training.
        """

        def score(row: PackedRow) -> list[Floats]:
            return _by_continuation(self.token_logp(row, temperature), row)

        return self._per_tree(trees, score, adapter)

    def values(self, trees: Sequence[PromptTree]) -> list[tuple[Floats, ...]]:
        """A critic's value of the state before every trained token, per tree and continuation; ranks call it as they do
        `logprobs`."""
        return self._per_tree(
            trees, lambda row: _by_continuation(self.token_values(row), row), True
        )

    def scores(self, trees: Sequence[PromptTree]) -> list[tuple[float, ...]]:
        """A reward model's score of every continuation, per tree; ranks call it as they do `logprobs`."""
        return self._per_tree(
            trees, lambda row: self.sequence_scores(row).tolist(), True, whole=True
        )

    @torch.no_grad()
    def _per_tree(
        self,
        trees: Sequence[PromptTree],
        score: Callable[[PackedRow], list[Any]],
        adapter: bool,
        *,
        whole: bool = False,
    ) -> list[tuple[Any, ...]]:
        rows = list(_neighbours(trees, self.config.row_tokens))
        results: list[tuple[Any, ...]] = []
        with nullcontext() if adapter else self.policy.without_adapter():
            scored = self.over([build_row(r, whole=whole) for r in rows], score)
            for row_trees, (row, values) in zip_longest(rows, scored):
                if row is not None:
                    own = iter(values)
                    results += [tuple(next(own) for _ in t.continuations) for t in row_trees]
        return results

    def over(
        self, rows: Sequence[PackedRow], compute: Callable[[PackedRow], T]
    ) -> Iterator[tuple[PackedRow | None, T | Tensor]]:
        """Pairs of row and `compute(row)`, each in a run of its own; every rank must go through all of them.

        Where a rank has fewer rows or shorter ones than its peers and they gather weights together, it computes on a
        dummy: alone, for a row that is None and a loss of zero with its zero gradient, or beside the row.
        """
        plan = self.policy.placement.align_passes([self.policy.num_passes(row) for row in rows])
        for row, passes in zip_longest(rows, plan):
            yield row, self.policy.placement.run(partial(self._computed, row, passes, compute))

    def _computed(
        self, row: PackedRow | None, passes: int, compute: Callable[[PackedRow], T]
    ) -> T | Tensor:
        found = self._nothing() if row is None else compute(row)
        for _ in range(passes - (1 if row is None else self.policy.num_passes(row))):
            nothing = self._nothing()
            found = found + nothing if isinstance(found, Tensor) else found
        return found

    def _nothing(self) -> Tensor:
        """A zero that every weight takes part in."""
        row = dummy_row()
        if isinstance(self.policy, RewardModel):
            return self.sequence_scores(row).sum() * 0
        return self.token_logp(row).sum() * 0

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = getattr(torch, self.policy.config.dtype)
        return torch.autocast(self.policy.device.type, dtype=dtype, enabled=dtype != torch.float32)


def _by_continuation(per_token: Tensor, row: PackedRow) -> list[Floats]:
    return np.split(per_token.float().cpu().numpy(), np.cumsum(row.sequence_lengths)[:-1])


def _neighbours(trees: Sequence[PromptTree], row_tokens: int) -> Iterator[list[PromptTree]]:
    row: list[PromptTree] = []
    size = 0
    for tree in trees:
        if row and size + tree.num_tokens > row_tokens:
            yield row
            row, size = [], 0
        row.append(tree)
        size += tree.num_tokens
    if row:
        yield row


def dummy_row() -> PackedRow:
    """Two tokens, the second of them trained."""
    ids = np.zeros(1, dtype=np.int32)
    tree = PromptTree(ids, (Continuation(ids, np.ones(1, dtype=np.bool_)),))
    return build_row([tree], whole=True)
