"""Log-probabilities or scores of trees under a model: the one forward pass that training and scoring share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from medray.config.learner import LearnerConfig
from medray.data.packing import PackedRow, build_row
from medray.learners.objectives.base import Output
from medray.losses.logprobs import token_logprobs
from medray.models.neftune import EmbeddingNoise
from medray.models.packed import PackedModel, PolicyModel
from medray.models.reward import RewardModel
from medray.types import Floats, PromptTree


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
        if what == "hidden":
            return self.predicting_states(row, noise), {}
        hits = None
        if what == "logp+hit":
            hits = torch.empty(len(row.targets), dtype=torch.bool, device=self.policy.device)
        logp = self.token_logp(row, noise=noise, hits=hits)
        return logp, {} if hits is None else {"hit": hits}

    def token_logp(
        self,
        row: PackedRow,
        temperature: float | None = None,
        *,
        noise: EmbeddingNoise | None = None,
        hits: Tensor | None = None,
    ) -> Tensor:
        """Log-probability (nats) [N] of the row's trained tokens; carries grad where enabled.

        `hits` [N], where given, is filled with whether each token is the most likely one.
        """
        return self.logp_of(self.predicting_states(row, noise), row, temperature, hits=hits)

    def predicting_states(self, row: PackedRow, noise: EmbeddingNoise | None = None) -> Tensor:
        """Last hidden states [N, D] of the tokens that precede the row's trained ones."""
        with self._autocast():
            hidden = self.policy.hidden_states(row, noise)
        return hidden.index_select(0, torch.as_tensor(row.predictors, device=hidden.device))

    def logp_of(
        self,
        hidden: Tensor,
        row: PackedRow,
        temperature: float | None = None,
        *,
        hits: Tensor | None = None,
    ) -> Tensor:
        """Log-probability (nats) [N] of the row's trained tokens from `predicting_states`."""
        head = cast(PolicyModel, self.policy).head()
        with self._autocast():
            logp, _ = token_logprobs(
                hidden,
                head.weight,
                torch.as_tensor(row.targets, device=hidden.device),
                bias=head.bias,
                temperature=self.temperature if temperature is None else temperature,
                softcap=head.softcap,
                scale=head.scale,
                chunk=self.config.head_chunk,
                hits=hits,
            )
        return logp

    def sequence_scores(self, row: PackedRow, noise: EmbeddingNoise | None = None) -> Tensor:
        """A reward model's score of each continuation [S]; carries grad where enabled."""
        with self._autocast():
            return cast(RewardModel, self.policy).scores(row, noise)

    def logprobs(
        self, trees: Sequence[PromptTree], *, temperature: float | None = None, adapter: bool = True
    ) -> list[tuple[Floats, ...]]:
        """Log-probability (nats) of every trained token, per tree and continuation.

        Args:
            trees: what to score; neighbours share rows within the token budget.
            temperature: None takes the sampling temperature.
            adapter: False scores under the base model, the reference policy of LoRA training.
        """

        def score(row: PackedRow) -> list[Floats]:
            logp = self.token_logp(row, temperature).float().cpu().numpy()
            return np.split(logp, np.cumsum(row.sequence_lengths)[:-1])

        return self._per_tree(trees, score, adapter)

    def scores(self, trees: Sequence[PromptTree]) -> list[tuple[float, ...]]:
        """A reward model's score of every continuation, per tree."""
        return self._per_tree(trees, lambda row: self.sequence_scores(row).tolist(), True)

    @torch.no_grad()
    def _per_tree(
        self,
        trees: Sequence[PromptTree],
        score: Callable[[PackedRow], list[Any]],
        adapter: bool,
    ) -> list[tuple[Any, ...]]:
        results: list[tuple[Any, ...]] = []
        for row_trees in _neighbours(trees, self.config.row_tokens):
            if adapter:
                scored = score(build_row(row_trees))
            else:
                with self.policy.without_adapter():
                    scored = score(build_row(row_trees))
            values = iter(scored)
            results += [tuple(next(values) for _ in tree.continuations) for tree in row_trees]
        return results

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = getattr(torch, self.policy.config.dtype)
        return torch.autocast(self.policy.device.type, dtype=dtype, enabled=dtype != torch.float32)


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
