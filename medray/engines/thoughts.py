"""Which part of a response is thought: known once, at the engine, from what the prompt opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medray.data.rendering.chat import renderer_of
from medray.data.rendering.thoughts import ThoughtForm
from medray.errors import ModelError
from medray.thoughts import Tags, visible_text
from medray.types import TokenIds

TAIL = 32  # tokens of a prompt, in which a template opens a thought


class Thoughts:
    """Tells thoughts from answers as the chat template of a model writes them."""

    def __init__(self, tokenizer: Any = None) -> None:
        """Read the template's form; without a tokenizer or a template, thoughts stand between `<think>` tags."""
        self._tokenizer = tokenizer
        form = _form_of(tokenizer)
        tags = (form.opening.strip(), form.closing.strip())
        self._tags: tuple[Tags, ...] = (tags,) if all(tags) else ()
        added = getattr(tokenizer, "added_tokens_decoder", {}).values()
        special = {str(token) for token in added if token.special}
        # Texts leave special tokens out: where tags are such, thoughts are found in the tokens.
        self._special = tuple(sorted(special, key=len, reverse=True))
        self._is_special = any(token in tag for tag in (*tags, "<think>", "</think>") for token in special)  # fmt: skip

    def opened_by(self, prompt_ids: Sequence[int] | TokenIds) -> bool:
        """Whether a prompt, or what another party said, ends where the template opens a thought."""
        if self._tokenizer is None or not len(prompt_ids):
            return False
        tail = self._raw(prompt_ids[-TAIL:]).rstrip()
        return tail.endswith(("<think>", *(begin for begin, _ in self._tags)))

    def visible(self, text: str, tokens: Sequence[int], *, opened: bool) -> str:
        """What is seen of a turn.

        Args:
            text: of the turn, without special tokens and without the stop string that ended it.
            tokens: of the turn.
            opened: it begins within a thought.
        """
        if not self._is_special:
            return visible_text(text, opened=opened, tags=self._tags)
        raw = self._raw(tokens)
        plain, visible = self._plain(raw), visible_text(raw, opened=opened, tags=self._tags)
        if plain == visible:
            return text
        # Of the visible end, cut the stop string that the text was cut at.
        seen = self._plain(visible)
        return seen[: max(0, len(seen) - max(0, len(plain) - len(text)))]

    def _raw(self, tokens: Sequence[int] | TokenIds) -> str:
        return self._tokenizer.decode([int(t) for t in tokens], skip_special_tokens=False)

    def _plain(self, text: str) -> str:
        for token in self._special:
            text = text.replace(token, "")
        return text


def _form_of(tokenizer: Any) -> ThoughtForm:
    if tokenizer is None:
        return ThoughtForm()
    try:
        return renderer_of(tokenizer).thought_form
    except ModelError:
        return ThoughtForm()
