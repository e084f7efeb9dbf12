"""Log-probabilities of trees under a model: the one forward pass that training and scoring share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medray.config.grpo import LearnerConfig
from medray.data.packing import PackedRow, build_row
from medray.losses.logprobs import token_logprobs
from medray.models.load import PolicyModel
from medray.types import Floats, PromptTree


class Scorer:
    """Scores packed rows under `policy`, at the temperature that the engine samples with."""

    def __init__(
        self, policy: PolicyModel, *, temperature: float = 1.0, config: LearnerConfig | None = None
    ) -> None:
        self.policy = policy
        self.temperature = temperature
        self.config = config or LearnerConfig()

    def token_logp(self, row: PackedRow, temperature: float | None = None) -> Tensor:
        """Log-probability (nats) [N] of the row's trained tokens; carries grad where enabled."""
        device = self.policy.device
        dtype = getattr(torch, self.policy.config.dtype)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            hidden = self.policy.hidden_states(row)
            head = self.policy.head()
            logp, _ = token_logprobs(
                hidden.index_select(0, torch.as_tensor(row.predictors, device=device)),
                head.weight,
                torch.as_tensor(row.targets, device=device),
                bias=head.bias,
                temperature=self.temperature if temperature is None else temperature,
                softcap=head.softcap,
                scale=head.scale,
                chunk=self.config.head_chunk,
            )
        return logp

    @torch.no_grad()
    def logprobs(
        self, trees: Sequence[PromptTree], *, temperature: float | None = None, adapter: bool = True
    ) -> list[tuple[Floats, ...]]:
        """Log-probability (nats) of every trained token, per tree and continuation.

        Args:
            trees: what to score; each tree is a row of its own.
            temperature: None takes the sampling temperature.
            adapter: False scores under the base model, the reference policy of LoRA training.
        """
        return [self._score(tree, temperature, adapter) for tree in trees]

    def _score(
        self, tree: PromptTree, temperature: float | None, adapter: bool
    ) -> tuple[Floats, ...]:
        row = build_row([tree])
        if adapter:
            logp = self.token_logp(row, temperature)
        else:
            with self.policy.without_adapter():
                logp = self.token_logp(row, temperature)
        return tuple(np.split(logp.float().cpu().numpy(), np.cumsum(row.sequence_lengths)[:-1]))
