"""`render_chat`: one dialogue to tokens and a mask, in one rendering."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from medray.data.rendering.template import Template
from medray.data.rendering.thoughts import ThoughtForm, passed
from medray.data.rendering.tokens import encode
from medray.data.rendering.turns import UNCLOSED, Span, TurnFinder
from medray.data.tools.base import Tool
from medray.data.tools.messages import (
    Prepared,
    prepare_native,
    prepare_plain,
    prepare_text,
    uses_tools,
)
from medray.data.tools.registry import NATIVE, get_tool_format
from medray.errors import ConfigError, DataError, ModelError
from medray.types import TokenIds

Messages = Sequence[Mapping[str, Any]]


class AssistantTurn(NamedTuple):
    """One assistant message as rendered: its tokens are `token_ids[start:end]`, its stop token the last."""

    message: int  # index in the dialogue
    start: int
    end: int
    trained: bool
    reason: str = ""  # why it is not trained
    characters: tuple[int, int] = (0, 0)  # where it stands in the text, half-open


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How a dialogue becomes tokens, and which of them are trained.

    `tool_format` None takes the template's own: `native` where the model's template handles tools, the format
    that a named template belongs to, `default` elsewhere. `train_on_prompt` trains everything but the first
    token, which nothing predicts. `variables` go to the template (`enable_thinking`).
    """

    tools: tuple[Tool, ...] = ()
    tool_format: str | None = None
    add_generation_prompt: bool = False
    train: Literal["all", "last"] = "all"
    train_on_prompt: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class RenderedChat:
    """A dialogue as tokens. A True in `trained` marks a token that the loss counts."""

    token_ids: TokenIds  # [T]
    trained: npt.NDArray[np.bool_]  # [T]
    text: str
    turns: tuple[AssistantTurn, ...]
    num_lost_thoughts: int = 0  # of earlier turns, which the template leaves out
    source: RenderedFrom | None = field(default=None, repr=False, compare=False)

    @property
    def num_unclosed_thoughts(self) -> int:
        """Turns that are not trained because their thought is never closed."""
        return sum(turn.reason == UNCLOSED for turn in self.turns)


@dataclass(frozen=True, slots=True)
class RenderedFrom:
    """What a `RenderedChat` was made from; it stays in the process, so drop it before a chat is sent away."""

    messages: Messages
    options: ChatOptions
    renderer: ChatRenderer


class ChatRenderer:
    """Renders dialogues with one tokenizer; keeps what it learns about the template.

    `variables` go to the template in every rendering, before those of its options.

    Raises:
        ModelError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, variables: Mapping[str, Any] | None = None) -> None:
        _require_template(tokenizer)
        self.variables = dict(variables or {})
        self.tokenizer = tokenizer
        self._templates: dict[Any, Template] = {}

    def render(self, messages: Messages, options: ChatOptions) -> RenderedChat:
        """Render and tokenize a chat with this renderer's tokenizer; see `render_chat`.

        Raises:
            ModelError: the chat template refuses the dialogue.
        """
        prepared, template = self._prepare(messages, options)
        add = options.add_generation_prompt
        try:
            text = template.render(prepared.messages, prepared.tools, add)
            text, spans = TurnFinder(template, prepared.messages, prepared.tools, add).find(text)
        except _refusals() as error:
            raise ModelError(f"{template.title} rejects this dialogue: {error}") from error
        encoded = encode(self.tokenizer, text, [(span.start, span.end) for span in spans])
        turns = _turns(spans, prepared, messages, encoded.span, options.train)
        trained = np.zeros(len(encoded.token_ids), dtype=np.bool_)
        if options.train_on_prompt:
            trained[1:] = True
        for turn, span in zip(turns, range(len(spans)), strict=True):
            trained[encoded.span == span] = turn.trained
        trained[:1] = False
        source = RenderedFrom(messages, options, self)
        lost = sum(span.lost_thought for span in spans)
        return RenderedChat(encoded.token_ids, trained, text, turns, lost, source)

    def prompt_ids(self, messages: Messages, options: ChatOptions) -> TokenIds:
        """The tokens [T] an engine is given: the dialogue up to the assistant's first token.

        Raises:
            jinja2.TemplateError, TypeError: the template refuses the dialogue.
        """
        prepared, template = self._prepare(messages, options)
        text = template.render(prepared.messages, prepared.tools, True)
        return encode(self.tokenizer, text, []).token_ids

    @property
    def thought_form(self) -> ThoughtForm:
        """How the template takes thoughts and writes them."""
        return self._template(None, {}).thoughts

    @property
    def drops_earlier_thoughts(self) -> bool:
        """Whether the template leaves the thoughts of earlier turns out of a dialogue that goes on."""
        thought = "<think>\nHm.\n</think>\n\nYes."
        turns = [("user", "Well?"), ("assistant", thought), ("user", "And?"), ("assistant", "No.")]
        messages = [{"role": role, "content": content} for role, content in turns]
        try:
            return self.render(messages, ChatOptions()).num_lost_thoughts > 0
        except ModelError:  # it takes no such dialogue, so none goes on
            return False

    def decode(self, token_ids: TokenIds) -> str:
        """The text of tokens, special ones included."""
        return self.tokenizer.decode(
            token_ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )

    def _prepare(self, messages: Messages, options: ChatOptions) -> tuple[Prepared, Template]:
        prepared, template = self._with_tools(messages, options)
        prepared.messages = [
            passed(message, template.thoughts) if message["role"] == "assistant" else message
            for message in prepared.messages
        ]
        return prepared, template

    def _with_tools(self, messages: Messages, options: ChatOptions) -> tuple[Prepared, Template]:
        if not messages:
            raise DataError("a dialogue has no messages")
        if not uses_tools(messages, options.tools):
            return prepare_plain(messages), self._template(None, options.variables)
        listed = [dict(tool) for tool in options.tools] or None
        template = self._template(listed, options.variables)
        named = template.named
        form = options.tool_format
        if form is None:
            form = named.tool_format if named else NATIVE if template.takes_tools else "default"
        if form != NATIVE:
            prepared = prepare_text(
                messages,
                options.tools,
                get_tool_format(form),
                default_system=named.default_system if named else "",
                has_tool_block=named is not None,
            )
            return prepared, self._template(None, options.variables)
        if not template.takes_tools:
            raise ConfigError(
                f"tool_format=native, but {template.title} does not support tools: set tool_format=default"
            )
        return prepare_native(messages, options.tools), template

    def _template(
        self, tools: list[dict[str, Any]] | None, variables: Mapping[str, Any]
    ) -> Template:
        source = self.tokenizer.get_chat_template(None, tools)
        variables = {**self.variables, **variables}
        key = (source, tuple(sorted(variables.items())))
        if key not in self._templates:
            self._templates[key] = Template(self.tokenizer, source, variables)
        return self._templates[key]


_renderers: weakref.WeakKeyDictionary[Any, ChatRenderer] = weakref.WeakKeyDictionary()


def render_chat(
    messages: Messages,
    tokenizer: Any,
    *,
    tools: Sequence[Tool] = (),
    tool_format: str | None = None,
    add_generation_prompt: bool = False,
    train: Literal["all", "last"] = "all",
    train_on_prompt: bool = False,
    variables: Mapping[str, Any] | None = None,
) -> RenderedChat:
    """Render a dialogue once, and mark the tokens that the assistant wrote.

    Marked are, for each assistant message, the tokens after its generation prompt up to and including its stop
    token; a message with `trained` false is left out. The mask comes from the rendering of the whole dialogue,
    so it is right for templates that rewrite earlier turns. A turn whose thought is never closed is not
    trained, and says so.

    Args:
        messages: dicts with `role` (system, user, assistant, tool) and `content`, optionally `tool_calls`,
            `trained`, `name` (see `medray.types.Message`).
        tokenizer: a transformers tokenizer with a chat template, or a `ChatRenderer`.
        tools: functions that the assistant may call.
        tool_format: how tools are written; None takes the template's own way (see `ChatOptions`).
        add_generation_prompt: end with the header of another assistant turn.
        train: all assistant turns, or the last one only.
        train_on_prompt: train all tokens of the dialogue.
        variables: further variables of the template.

    Returns:
        Tokens equal to those of `apply_chat_template` with three exceptions: a stop token is added when the
        template writes none after a last answer, the last message's thought where the template leaves it out, and
        no token straddles the edge of an assistant's turn.

    Raises:
        ModelError: there is no template, it refuses the dialogue, or it cannot be told what the assistant wrote.
        DataError: a message or call is malformed.
    """
    renderer = tokenizer if isinstance(tokenizer, ChatRenderer) else renderer_of(tokenizer)
    options = ChatOptions(
        tuple(tools), tool_format, add_generation_prompt, train, train_on_prompt, variables or {}
    )
    return renderer.render(messages, options)


def renderer_of(tokenizer: Any) -> ChatRenderer:
    """The renderer of a tokenizer, one for its lifetime."""
    _require_template(tokenizer)
    if tokenizer not in _renderers:
        _renderers[tokenizer] = ChatRenderer(tokenizer)
    return _renderers[tokenizer]


def _require_template(tokenizer: Any) -> None:
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"the tokenizer of {tokenizer.name_or_path or 'this model'} has no chat template: use an"
            " instruction-tuned model, put a chat_template.jinja next to its tokenizer, or set one with"
            " model.template"
        )


def _turns(
    spans: Sequence[Span],
    prepared: Prepared,
    messages: Messages,
    owner: npt.NDArray[np.int32],
    train: str,
) -> tuple[AssistantTurn, ...]:
    turns: list[AssistantTurn] = []
    for i, span in enumerate(spans):
        origin = prepared.origins[span.message]
        reason = span.refused
        if train == "last" and i < len(spans) - 1:
            reason = "only the last turn is trained"
        if not messages[origin].get("trained", True):
            reason = "its message says so"
        tokens = np.flatnonzero(owner == i)
        start, end = (int(tokens[0]), int(tokens[-1]) + 1) if len(tokens) else (0, 0)
        place = (span.start, span.end)
        turns.append(AssistantTurn(origin, start, end, not reason, reason, place))
    return tuple(turns)


def _refusals() -> tuple[type[Exception], ...]:
    from jinja2 import TemplateError

    return TemplateError, TypeError
