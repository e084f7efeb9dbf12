"""Loading the model's tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medray.config.model import ModelConfig
from medray.data.templates.registry import apply_template
from medray.errors import ModelError
from medray.models.adapter_folder import base_of, is_adapter
from medray.models.fetch import resolve_model


def load_tokenizer(config: ModelConfig) -> Any:
    """The model's tokenizer, with a pad token and the template asked for; an adapter's own, where it has one."""
    from transformers import AutoTokenizer

    source = resolve_model(config.tokenizer or config.path)
    if is_adapter(source) and not any(Path(source).glob("tokenizer*")):
        source = resolve_model(base_of(source))
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=config.revision, trust_remote_code=config.trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model.path={config.path}: no tokenizer could be loaded ({str(error).strip().partition(chr(10))[0]})"
        ) from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if config.template is not None:
        apply_template(tokenizer, config.template)
    return tokenizer


def max_positions(config: ModelConfig) -> int | None:
    """Positions the model was built for, or None where its config does not say."""
    from transformers import AutoConfig

    source = resolve_model(config.path)
    try:
        found = AutoConfig.from_pretrained(
            source, revision=config.revision, trust_remote_code=config.trust_remote_code
        )
    except (OSError, ValueError):
        return None  # whoever loads the model explains
    return getattr(found.get_text_config(), "max_position_embeddings", None)
