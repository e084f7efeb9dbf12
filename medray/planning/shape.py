"""What of a model its memory depends on, counted on a copy that has shapes and no weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from medray.config.model import ModelConfig
from medray.data.batches.packing import build_row
from medray.errors import ModelError, first_line
from medray.models.adapters.folder import base_of, is_adapter
from medray.models.adapters.lora import add_adapter
from medray.models.attention import shared_prefix as attention
from medray.models.fetching.fetch import resolve_model
from medray.planning.tokens import RowSize
from medray.types import Continuation, PromptTree

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class ModelShape:
    """Sizes of one model in the form a job trains it in."""

    num_params: int
    num_trained: int
    num_quantised: int  # parameters that 8-bit and 4-bit storage shrink: linear layers but the head
    num_head: int  # parameters of the output head
    tied: bool  # head and embedding are one tensor
    num_layers: int
    hidden: int
    largest_layer: int  # parameters of the largest linear layer
    wide: int  # width of the widest activation
    kv_width: int  # elements of keys and values one token has in one layer
    vocabulary: int


def hf_config(config: ModelConfig) -> Any:
    """The model's own configuration.

    Raises:
        ModelError: there is none, or transformers cannot read it.
    """
    source = resolve_model(config.path)
    if is_adapter(source):
        source = resolve_model(base_of(source))
    try:
        return AutoConfig.from_pretrained(
            source, revision=config.revision, trust_remote_code=config.trust_remote_code
        )
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise ModelError(
            f"model.path={config.path}: no configuration could be read ({reason.rstrip('.')}): "
            "set model.path to a folder with the model, or connect to a network"
        ) from None


def model_shape(own: Any, config: ModelConfig) -> ModelShape:
    """Count the parameters of a model, its adapter included.

    Args:
        own: the model's configuration.
        config: how the job holds it.
    """
    text = own.get_text_config()
    module = _empty_model(own, config)
    head = module.get_output_embeddings()
    linears = [m for m in module.modules() if isinstance(m, nn.Linear) and m is not head]
    num_params = sum(p.numel() for p in module.parameters())
    quantised = sum(m.weight.numel() for m in linears)
    largest = max((m.weight.numel() for m in linears), default=0)
    wide = max((max(m.in_features, m.out_features) for m in linears), default=text.hidden_size)
    tied = head is not None and head.weight is module.get_input_embeddings().weight
    head_size = head.weight.numel() if head is not None else 0
    trained = num_params
    if config.lora is not None:
        adapter = add_adapter(module.requires_grad_(False), config.lora, resized=False)
        trained = sum(p.numel() for p in adapter.parameters() if p.requires_grad)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    per_head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return ModelShape(
        num_params=num_params,
        num_trained=trained,
        num_quantised=quantised,
        num_head=head_size,
        tied=tied,
        num_layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        largest_layer=largest,
        wide=wide,
        kv_width=2 * heads * per_head,
        vocabulary=text.vocab_size,
    )


@dataclass(frozen=True)
class ActivationBytes:
    """What one forward pass keeps for its backward pass."""

    per_layer: int
    outside: int  # embeddings, last norm, position tables


def activation_bytes(own: Any, config: ModelConfig, row: RowSize, dtype: str) -> ActivationBytes:
    """Bytes of the tensors that autograd keeps, found by computing a row without data.

    Models of one and of two layers are run, their difference is a layer. Layers that alternate between kinds
    are taken as alike.
    """
    sizes = [_kept_bytes(own, config, row, dtype, num_layers) for num_layers in (1, 2)]
    per_layer = max(0, sizes[1] - sizes[0])
    return ActivationBytes(per_layer, max(0, sizes[0] - per_layer))


def _kept_bytes(own: Any, config: ModelConfig, row: RowSize, dtype: str, num_layers: int) -> int:
    attention.register()
    shallow = type(own).from_dict(own.to_dict())
    text = shallow.get_text_config()
    text.num_hidden_layers = num_layers
    if getattr(text, "layer_types", None):
        text.layer_types = list(text.layer_types)[:num_layers]
    module = _empty_model(shallow, config, attention.TREE).to(getattr(torch, dtype))
    if config.lora is not None:
        module.requires_grad_(False)
        add_adapter(module, config.lora, resized=False)
    owned = {p.untyped_storage()._cdata for p in module.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in owned:
            kept[storage._cdata] = storage  # held, so that no later storage gets its address
        return tensor

    ids = torch.zeros(1, row.num_tokens, dtype=torch.long, device="meta")
    layout = _layout(row)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        attention.laid_out(layout),
        _fused_attention(),
    ):
        module.get_decoder()(
            input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False,
            position_ids=layout.position_ids.to("meta")[None],
        )  # fmt: skip
    return sum(storage.nbytes() for storage in kept.values())


def _empty_model(own: Any, config: ModelConfig, implementation: str | None = None) -> Any:
    extra = {"attn_implementation": implementation} if implementation else {}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(
            own, trust_remote_code=config.trust_remote_code, **extra
        )


def _layout(row: RowSize) -> attention.RowLayout:
    """The row's groups with responses of one length, so that nothing has to be padded."""
    ids = np.zeros(max(row.prompt, row.branch), np.int32)
    response = Continuation(ids[: row.branch], np.zeros(row.branch, np.bool_))
    tree = PromptTree(ids[: row.prompt], (response,) * row.branches)
    packed = build_row([tree] * row.num_groups, whole=True, merge=False)
    return attention.row_layout(packed, torch.device("cpu"))


class _Fused(torch.autograd.Function):
    """Keeps what the fused attention kernels keep: queries, keys, values, output and normalisers."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(
            query, key, value, out, query.new_empty(query.shape[:-1], dtype=torch.float32)
        )
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise AssertionError("nothing is computed on shapes")


@contextmanager
def _fused_attention() -> Iterator[None]:
    real = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = lambda q, k, v, **_: _Fused.apply(q, k, v)  # type: ignore[assignment]
    try:
        yield
    finally:
        F.scaled_dot_product_attention = real
