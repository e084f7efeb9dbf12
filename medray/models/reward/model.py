"""Reward models: a decoder and a linear map from the last token's hidden state to one score."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from medray.data.batches.packing import PackedRow
from medray.models.neftune import EmbeddingNoise
from medray.models.packed import PackedModel


class RewardModel(PackedModel):
    """A sequence-classification model with one label; `AutoModelForSequenceClassification` loads what it saves.

    Read at the last token of a text it is a reward model, at the ends of its steps a process reward model, before every
    token a critic.
    """

    @property
    def trunk(self) -> Any:
        """The decoder without the scalar head."""
        return self.module.base_model

    def scores(self, row: PackedRow, noise: EmbeddingNoise | None = None) -> Tensor:
        """One score a continuation [S] of a row that is `whole`, read at its last token; carries grad where enabled."""
        hidden = self.hidden_states(row, noise)
        last = torch.as_tensor(last_tokens(row, self._pad_id()), device=hidden.device)
        return cast(Any, self.module).score(hidden.index_select(0, last))[:, 0].float()

    def step_scores(self, row: PackedRow, noise: EmbeddingNoise | None = None) -> Tensor:
        """One score [N] at each trained token of a row that is `whole`, the end of a step; carries grad where
        enabled."""
        hidden = self.hidden_states(row, noise)
        ends = torch.as_tensor(row.places, device=hidden.device)
        return cast(Any, self.module).score(hidden.index_select(0, ends))[:, 0].float()

    def values(self, row: PackedRow, noise: EmbeddingNoise | None = None) -> Tensor:
        """The value [N] of the state in which each trained token was chosen; carries grad where enabled."""
        hidden = self.hidden_states(row, noise)
        before = torch.as_tensor(row.predictors, device=hidden.device)
        return cast(Any, self.module).score(hidden.index_select(0, before))[:, 0].float()

    def _pad_id(self) -> int | None:
        return self.module.config.get_text_config().pad_token_id


def start_at_zero(model: RewardModel) -> None:
    """Let a new head say 0 of everything: random values would be noise that a critic has to unlearn."""
    with torch.no_grad():
        for name, parameter in model.trainable():
            if "score" in name.split("."):
                parameter.zero_()


def last_tokens(row: PackedRow, pad_id: int | None) -> list[int]:
    """Index in the row of the token each continuation is scored at.

    It is the last one that is not padding, since that is where transformers reads a padded batch: a text that
    ends in a token which serves as padding too is scored at the token before.
    """
    found: list[int] = []
    for span in row.spans:
        for own in span.continuations:
            words = np.flatnonzero(row.token_ids[own] != pad_id)
            found.append(int(own[words[-1]] if len(words) else own[0]))
    return found


def prepare_scalar_head(hf_config: Any, tokenizer: Any) -> None:
    """Ask for one label, and for padding by a token that never ends a text.

    Where end of text and padding are one token, transformers scores at the token before it and the model
    never sees that a text is over; another special token is taken for padding then, if there is one.
    """
    hf_config.num_labels = 1
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        spare = [
            token
            for token in (tokenizer.unk_token, *tokenizer.all_special_tokens, tokenizer.bos_token)
            if token is not None and token != tokenizer.eos_token
        ]
        if spare:
            tokenizer.pad_token = spare[0]
    hf_config.pad_token_id = tokenizer.pad_token_id
    text = hf_config.get_text_config()
    if text is not hf_config:
        text.pad_token_id = tokenizer.pad_token_id
