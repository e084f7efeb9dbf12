"""Models that compute packed rows: what every stage trains and scores with."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from medray.config.model import ModelConfig
from medray.data.batches.packing import Indices, PackedRow
from medray.models.attention import flex
from medray.models.attention import shared_prefix as attention
from medray.models.attention.rope import forget_lengths
from medray.models.neftune import EmbeddingNoise, added_to_embeddings
from medray.models.weight_placement import Unsharded, WeightPlacement, whole_shape

Sharing = Literal["tree", "flex", "dense", "plain"]
SHARING_TEXT = {
    "tree": "shared-prefix",
    "flex": "shared-prefix (FlexAttention)",
    "dense": "masked",
    "plain": "unshared",
}


class PackedModel:
    """A Hugging Face model, its adapter if any, and the way it computes a packed row.

    `sharing` is how continuations share their prompt: "tree" by blocks, "flex" by one kernel that knows the row's
    tree, "dense" by one mask over the row, "plain" not at all, every continuation being computed after its own copy
    of the prompt. The hidden states and their gradients are the same.
    """

    def __init__(
        self,
        module: PreTrainedModel,
        tokenizer: Any,
        config: ModelConfig,
        adapter: Any = None,
        sharing: Sharing = "plain",
    ) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.config = config
        self.adapter = adapter  # peft.PeftModel around `module`, or None
        self.sharing = sharing
        self.placement: WeightPlacement = Unsharded()
        self.needs_train_mode = config.gradient_checkpointing or (
            config.lora is not None and config.lora.dropout > 0
        )
        self._rope_limit = _rope_limit(module.config.get_text_config())
        self.takes_positions = "position_ids" in inspect.signature(self.trunk.forward).parameters

    @property
    def trunk(self) -> Any:
        """The decoder without its head."""
        raise NotImplementedError

    def describe(self) -> str:
        """One line for people: type, size, what is trained."""
        total = sum(whole_shape(p).numel() for p in self.module.parameters())
        trained = sum(whole_shape(p).numel() for _, p in self.trainable())
        return (
            f"{self.config.path}: {self.module.config.model_type}, {total / 1e6:,.0f}M parameters, "
            f"{trained / 1e6:,.1f}M trained, {self.config.dtype}, {SHARING_TEXT[self.sharing]} attention"
        )

    @property
    def device(self) -> torch.device:
        """Where the embeddings live; rows are sent there."""
        return next(self.module.parameters()).device

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        """Named parameters that carry gradients, in a fixed order."""
        return [
            (n, p) for n, p in (self.adapter or self.module).named_parameters() if p.requires_grad
        ]

    def without_adapter(self) -> AbstractContextManager[Any]:
        """Within this context the model is its base: the reference policy under LoRA."""
        return self.adapter.disable_adapter() if self.adapter is not None else nullcontext()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Within this context checkpointing and the adapter's dropout are on; elsewhere they are off."""
        if not self.needs_train_mode:
            yield
            return
        self.module.train()
        try:
            yield
        finally:
            self.module.eval()

    def hidden_states(self, row: PackedRow, noise: EmbeddingNoise | None = None) -> Tensor:
        """Last hidden states [T, D] of a packed row, with noise on the embeddings where given."""
        device = self.device
        ids = torch.as_tensor(row.token_ids, device=device)[None]
        drawn = None
        if noise is not None:
            size = cast(Any, self.module.get_input_embeddings()).weight.shape[1]
            drawn = noise.of_row(row, size, device)
        if self._is_separate(row):
            return self._separately(row, ids, drawn)
        positions = torch.as_tensor(row.position_ids, device=device)[None]
        if self.sharing == "dense":
            mask = attention.dense_mask(row, self.module.dtype, device)
            return self._run(ids, drawn, attention_mask=mask, position_ids=positions)
        laid_out = flex.row_walk if self.sharing == "flex" else attention.row_layout
        return self._run_laid_out(ids, drawn, positions, laid_out(row, device))

    def num_passes(self, row: PackedRow) -> int:
        """How often `hidden_states` goes through the decoder for a row."""
        if not self._is_separate(row):
            return 1
        return sum(1 for _ in row.paths())

    def _is_separate(self, row: PackedRow) -> bool:
        too_long = self._rope_limit is not None and row.text_lengths.max() > self._rope_limit
        return self.sharing == "plain" or bool(too_long)

    def _separately(self, row: PackedRow, ids: Tensor, noise: Tensor | None) -> Tensor:
        pieces: list[Tensor] = []
        places: list[Indices] = []
        computed = np.zeros(len(row.token_ids), dtype=np.bool_)
        for path, length in zip(row.paths(), row.text_lengths, strict=True):
            at = torch.as_tensor(path, device=ids.device)
            hidden = self._run_alone(ids[:, at], None if noise is None else noise[at], int(length))
            # No token sees what follows it: what sequences share has the same states in every copy.
            new = np.flatnonzero(~computed[path])
            pieces.append(hidden[torch.as_tensor(new, device=ids.device)])
            places.append(path[new])
            computed[path] = True
        order = torch.as_tensor(np.argsort(np.concatenate(places)), device=ids.device)
        return torch.cat(pieces).index_select(0, order)

    def _run_alone(self, ids: Tensor, noise: Tensor | None, length: int) -> Tensor:
        """Hidden states of one sequence of `length` tokens, of which `ids` are computed."""
        size = ids.shape[1]
        positions = torch.arange(size, device=ids.device)
        if self._rope_limit is not None and length > size:
            # Frequencies depend on the whole text's length, which its last position tells; no other token sees it.
            positions = torch.cat([positions, positions.new_tensor([length - 1])])
            ids = torch.cat([ids, ids[:, -1:]], dim=1)
            noise = None if noise is None else torch.cat([noise, torch.zeros_like(noise[:1])])
        return self._run_at(ids, noise, positions)[:size]

    def _run_at(self, ids: Tensor, noise: Tensor | None, positions: Tensor) -> Tensor:
        if self.sharing in ("tree", "flex"):
            plain = flex.plain_walk if self.sharing == "flex" else attention.plain_layout
            layout = plain(ids.shape[1], ids.device)
            return self._run_laid_out(ids, noise, positions[None], layout)
        extra = {"position_ids": positions[None]} if self.takes_positions else {}
        return self._run(ids, noise, **extra)

    def _run_laid_out(
        self,
        ids: Tensor,
        noise: Tensor | None,
        positions: Tensor,
        layout: attention.RowLayout | flex.Walk,
    ) -> Tensor:
        # A mask of ones keeps transformers from guessing where sequences begin.
        mask = torch.ones_like(ids)
        with attention.laid_out(layout):
            return self._run(ids, noise, attention_mask=mask, position_ids=positions)

    def _run(self, ids: Tensor, noise: Tensor | None, **extra: Any) -> Tensor:
        if self._rope_limit is not None:
            forget_lengths(self.trunk)
        with added_to_embeddings(cast(nn.Module, self.module.get_input_embeddings()), noise):
            return self.trunk(input_ids=ids, use_cache=False, **extra).last_hidden_state[0]


def _rope_limit(config: Any) -> int | None:
    """Length beyond which rotary frequencies depend on the longest text computed together; None for never."""
    parameters = getattr(config, "rope_parameters", None) or {}
    blocks = [b for b in (parameters, *parameters.values()) if isinstance(b, dict)]
    for block in blocks:
        if block.get("rope_type") in ("dynamic", "longrope"):
            original = block.get("original_max_position_embeddings")
            return int(original or config.max_position_embeddings)
    return None


@dataclass(frozen=True)
class OutputHead:
    """The linear map from hidden states to logits, and what the architecture does to the logits."""

    weight: Tensor  # [V, D]
    bias: Tensor | None  # [V]
    scale: float
    softcap: float | None


class PolicyModel(PackedModel):
    """Causal language model that computes packed rows of prompt trees."""

    @property
    def trunk(self) -> Any:
        """The decoder without the output head."""
        decoder = self.module.get_decoder()
        return decoder if decoder is not self.module else cast(Any, self.module).model

    def head(self) -> OutputHead:
        """The output head; its weight is the parameter itself, so gradients reach it."""
        config = self.module.config.get_text_config()
        layer: Any = self.module.get_output_embeddings()
        scale = 1.0
        for factor in ("logit_scale", "lm_head_multiplier"):
            scale *= getattr(config, factor, None) or 1.0
        scale /= getattr(config, "logits_scaling", None) or 1.0
        return OutputHead(
            layer.weight,
            getattr(layer, "bias", None),
            float(scale),
            getattr(config, "final_logit_softcapping", None)
            or getattr(config, "logits_soft_cap", None),
        )
