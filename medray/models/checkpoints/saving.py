"""Writing a model in Hugging Face layout, its generation settings as they came."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_model(model: Any, folder: str | Path, **options: Any) -> None:
    """Call `save_pretrained` of a model or an adapter, without a check of `generation_config.json`.

    transformers refuses to save generation settings that it loads without complaint, such as a temperature without
    `do_sample` (`GenerationConfig.save_pretrained` validates strictly), after hours of training. They are the model's
    and none of training's business, so they are written as they are.

    Args:
        model: transformers' model, or peft's around one.
        folder: made where it is missing.
        options: of `save_pretrained`.
    """
    from transformers import GenerationConfig

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    settings = getattr(inner, "generation_config", None)
    if settings is None or inner is not model:  # an adapter's folder has no generation settings
        model.save_pretrained(folder, **options)
        return
    inner.generation_config = GenerationConfig()
    try:
        model.save_pretrained(folder, **options)
    finally:
        inner.generation_config = settings
    if model.can_generate():
        settings.to_json_file(
            Path(folder, "generation_config.json"), keys_to_pop=["compile_config"]
        )
