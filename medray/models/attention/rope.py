"""Longer contexts by scaling rotary position embeddings."""

from __future__ import annotations

from typing import Any

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


def _original_tokens(text: Any, parameters: dict[str, Any]) -> int:
    blocks = [parameters, *(v for v in parameters.values() if isinstance(v, dict))]
    for block in blocks:
        if "original_max_position_embeddings" in block:
            return int(block["original_max_position_embeddings"])
    return int(text.max_position_embeddings)
