"""Loading the model's tokenizer."""

from __future__ import annotations

from typing import Any

from medray.config.model import ModelConfig
from medray.data.templates.registry import Stops, apply_template, get_template, template_stops
from medray.errors import ModelError, first_line
from medray.models.adapters.chain import adapter_chain
from medray.models.hf_logging import silent_hf


def load_tokenizer(config: ModelConfig) -> Any:
    """The model's tokenizer, with a pad token and the template asked for; an adapter's own, where it has one."""
    chain = adapter_chain(config.tokenizer or config.path)
    from transformers import AutoTokenizer  # a second, which a wrong path need not cost

    own = (a for a in reversed(chain.adapters) if any(a.glob("tokenizer*")))
    source = next(own, chain.weights)
    try:
        with silent_hf():
            tokenizer = AutoTokenizer.from_pretrained(
                source, revision=config.revision, trust_remote_code=config.trust_remote_code
            )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model.path={config.path}: no tokenizer could be loaded ({first_line(error)}): "
            "use an existing folder, a catalogue model (medray fetch-model --list) or a reachable hub id"
        ) from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if config.template is not None:
        apply_template(tokenizer, config.template)
    return tokenizer


def max_positions(config: ModelConfig) -> int | None:
    """Positions the model was built for, or None where its config does not say."""
    from transformers import AutoConfig

    source = adapter_chain(config.path).weights
    try:
        found = AutoConfig.from_pretrained(
            source, revision=config.revision, trust_remote_code=config.trust_remote_code
        )
    except (OSError, ValueError):
        return None  # whoever loads the model explains
    return getattr(found.get_text_config(), "max_position_embeddings", None)


def named_stops(config: ModelConfig) -> Stops:
    """What ends a response besides the model's own stop token: the stops of the named template, if there is one."""
    return _template_stops(config, load_tokenizer(config)) if config.template else Stops((), ())


def model_stops(config: ModelConfig, tokenizer: Any) -> Stops:
    """Everything that ends a response: the model's own stop tokens, and the stops of the named template."""
    from transformers import GenerationConfig

    source = adapter_chain(config.path).weights
    try:
        own = GenerationConfig.from_pretrained(
            source, revision=config.revision or "main"
        ).eos_token_id
    except OSError:  # the model has no generation settings
        own = None
    own = [] if own is None else own if isinstance(own, list) else [own]
    named = _template_stops(config, tokenizer)
    ids = (*own, tokenizer.eos_token_id, *named.token_ids)
    return Stops(tuple(dict.fromkeys(i for i in ids if i is not None)), named.texts)


def _template_stops(config: ModelConfig, tokenizer: Any) -> Stops:
    if config.template is None:
        return Stops((), ())
    return template_stops(tokenizer, get_template(config.template))


def add_stops(module: Any, tokenizer: Any, template: str) -> None:
    """Have the model's generation settings stop at the template's stop tokens, so that its checkpoints do."""
    generation = getattr(module, "generation_config", None)
    if generation is None:
        return
    known = generation.eos_token_id
    known = [] if known is None else known if isinstance(known, list) else [known]
    ids = template_stops(tokenizer, get_template(template)).token_ids
    generation.eos_token_id = [*known, *(i for i in ids if i not in known)] or None
