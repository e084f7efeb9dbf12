"""Longer contexts by scaling rotary position embeddings."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from medray.config.model import RopeConfig
from medray.errors import ModelError


def scale_rope(hf_config: Any, rope: RopeConfig) -> None:
    """Write `rope` into a Hugging Face configuration, in place; the saved model keeps it.

    Only layers that see the whole context are scaled; those with a window keep their own positions.

    Raises:
        ModelError: the architecture has no rotary embeddings.
    """
    text = hf_config.get_text_config()
    parameters = getattr(text, "rope_parameters", None)
    if not parameters:
        raise ModelError(f"model.rope: {text.model_type} has no rotary position embeddings")
    original = rope.original_tokens or _original_tokens(text, parameters)
    change: dict[str, Any] = {"rope_type": rope.kind, "factor": rope.factor}
    if rope.kind != "linear":
        change["original_max_position_embeddings"] = original
    if rope.kind == "llama3":
        change |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    if any(isinstance(value, dict) for value in parameters.values()):  # one block a layer type
        text.rope_parameters = {
            kind: block if kind == "sliding_attention" else {**block, **change}
            for kind, block in parameters.items()
        }
    else:
        text.rope_parameters = {**parameters, **change}
    text.max_position_embeddings = int(original * rope.factor)


def forget_lengths(module: nn.Module) -> None:
    """Reset rotary embeddings whose frequencies depend on the sequence length to those of a short sequence.

    transformers' dynamic NTK scaling keeps the frequencies of the longest sequence since the last short one
    (`dynamic_rope_update`; huggingface/transformers#46624), so scores would depend on what was scored before.
    """
    for child in module.modules():
        if not hasattr(child, "original_max_seq_len"):
            continue
        for name in [n for n in vars(child) if n.endswith("max_seq_len_cached")]:
            setattr(child, name, child.original_max_seq_len)
        for name, frequencies in list(child.named_buffers(recurse=False)):
            original = getattr(child, f"{name.removesuffix('inv_freq')}original_inv_freq", None)
            if name.endswith("inv_freq") and isinstance(original, Tensor):
                setattr(child, name, original.to(frequencies.device))


def _original_tokens(text: Any, parameters: dict[str, Any]) -> int:
    blocks = [parameters, *(v for v in parameters.values() if isinstance(v, dict))]
    for block in blocks:
        if "original_max_position_embeddings" in block:
            return int(block["original_max_position_embeddings"])
    return int(text.max_position_embeddings)
