"""The named templates, and what naming one does to a tokenizer."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from medray.data.templates import chatml, deepseek, glm, llama, plain, thinking
from medray.data.templates.base import ChatTemplate
from medray.errors import ConfigError

TEMPLATES: dict[str, ChatTemplate] = {
    template.name: template
    for module in (chatml, deepseek, glm, llama, plain, thinking)
    for template in module.TEMPLATES
}
_NAME = re.compile(r"\{#- ([\w-]+) -#\}")


class Stops(NamedTuple):
    """What ends the assistant's turn: token ids, and texts that the vocabulary has no token for."""

    token_ids: tuple[int, ...]
    texts: tuple[str, ...]

    def joined(self, other: Stops) -> Stops:
        """Return these stops and those of `other`."""
        return Stops((*self.token_ids, *other.token_ids), (*self.texts, *other.texts))


def stops_of(tokenizer: Any, texts: Iterable[str]) -> Stops:
    """Return what a job's stop strings are in this vocabulary: a special token by its id, the others as text.

    Engines leave special tokens out of the text that they search, so as text such a token would never be found.
    """
    named = list(dict.fromkeys(texts))
    if not named:
        return Stops((), ())
    added = tokenizer.added_tokens_decoder.items()
    special = {token.content: number for number, token in added if token.special}
    ids = tuple(special[text] for text in named if text in special)
    return Stops(ids, tuple(text for text in named if text not in special))


def get_template(name: str) -> ChatTemplate:
    """The template called `name`.

    Raises:
        ConfigError: there is none.
    """
    if name not in TEMPLATES:
        near = difflib.get_close_matches(name, TEMPLATES, n=1)
        guess = f": did you mean {near[0]}?" if near else f": one of {', '.join(sorted(TEMPLATES))}"
        raise ConfigError(f"model.template={name} is unknown{guess}")
    return TEMPLATES[name]


def apply_template(tokenizer: Any, name: str) -> Stops:
    """Make `name` the chat template of the tokenizer, and its stop token the end of sequence where it is one token.

    A checkpoint saved with this tokenizer then carries both, so whatever serves it needs no setting.
    """
    template = get_template(name)
    tokenizer.chat_template = template.source
    stops = template_stops(tokenizer, template)
    if template.stop and stops.token_ids and tokenizer.eos_token != template.stop[0]:
        first = tokenizer.convert_ids_to_tokens(stops.token_ids[0])
        if first == template.stop[0]:
            tokenizer.eos_token = first
    return stops


def template_of(source: str) -> ChatTemplate | None:
    """The named template whose Jinja is `source`, None when the template is the model's own."""
    named = _NAME.match(source)
    template = TEMPLATES.get(named[1]) if named else None
    return template if template and template.source == source else None


def template_stops(tokenizer: Any, template: ChatTemplate) -> Stops:
    """The stops of `template` in this vocabulary; its end-of-sequence token when the template names none."""
    vocabulary = tokenizer.get_vocab()
    names = template.stop or ((tokenizer.eos_token,) if tokenizer.eos_token else ())
    ids = tuple(vocabulary[name] for name in names if name in vocabulary)
    return Stops(ids, tuple(name for name in names if name not in vocabulary))
