"""One tokenizer's chat template: its plain rendering, its variables, its generation prompts, its stops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from medray.data.rendering.marks import variables_of
from medray.data.rendering.thoughts import ThoughtForm, find_form
from medray.data.templates.base import ChatTemplate
from medray.data.templates.registry import template_of
from medray.errors import ModelError

Messages = Sequence[Mapping[str, Any]]
_THINKING_SWITCHES = ("enable_thinking", "thinking")


class Template:
    """A template as one tokenizer renders it.

    Args:
        tokenizer: a transformers tokenizer.
        source: the Jinja.
        variables: further variables for the template, such as `enable_thinking`.
    """

    def __init__(self, tokenizer: Any, source: str, variables: Mapping[str, Any]) -> None:
        self.tokenizer = tokenizer
        self.source = source
        self.variables = dict(variables)
        self.named: ChatTemplate | None = template_of(source)

    @property
    def title(self) -> str:
        """How errors call the template."""
        if self.named:
            return f"template {self.named.name}"
        return f"the chat template of {self.tokenizer.name_or_path or 'this model'}"

    def render(
        self, messages: Messages, tools: list[dict[str, Any]] | None, add_generation_prompt: bool
    ) -> str:
        """The text as `apply_chat_template` writes it.

        Raises:
            jinja2.TemplateError, TypeError: the template refuses the dialogue.
        """
        return self.tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tools=tools,
            chat_template=self.source,
            add_generation_prompt=add_generation_prompt,
            tokenize=False,
            **self.variables,
        )

    def context(
        self, tools: list[dict[str, Any]] | None, add_generation_prompt: bool
    ) -> dict[str, Any]:
        """All that the template is given besides the messages."""
        return {
            **self.tokenizer.special_tokens_map,
            **self.variables,
            "tools": tools,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }

    @cached_property
    def takes_tools(self) -> bool:
        """True when the template itself describes tools and writes calls."""
        return "tools" in variables_of(self.source) and "tool_calls" in self.source

    @cached_property
    def generation_prompts(self) -> tuple[str, ...]:
        """What the engine may be given before the assistant speaks, longest first; thinking on, off and unsaid."""
        switches = variables_of(self.source).intersection(_THINKING_SWITCHES)
        settings: list[dict[str, Any]] = [{}]
        settings += [{name: value} for name in switches for value in (True, False)]
        found = {self._generation_prompt(setting) for setting in settings}
        return tuple(sorted(found - {""}, key=lambda prompt: (-len(prompt), prompt)))

    @cached_property
    def thoughts(self) -> ThoughtForm:
        """How the template takes and writes chains of thought."""
        return find_form(self.source, self.generation_prompts, self._body)

    def _body(self, message: Mapping[str, Any]) -> str:
        """What the template writes for an assistant's message that answers a question; "" when it refuses it."""
        from jinja2 import TemplateError

        messages = [{"role": "user", "content": "?"}]
        try:
            before = self.render(messages, None, False)
            text = self.render([*messages, message], None, False)
        except (TemplateError, TypeError):
            return ""
        return text.removeprefix(before) if text.startswith(before) else text

    def _generation_prompt(self, setting: Mapping[str, Any]) -> str:
        from jinja2 import TemplateError

        probe = Template(self.tokenizer, self.source, {**self.variables, **setting})
        messages = [{"role": "user", "content": "?"}]
        try:
            without, full = (probe.render(messages, None, add) for add in (False, True))
        except (
            TemplateError,
            TypeError,
        ):  # it wants more than a question; the headers are then probed
            return ""
        return full.removeprefix(without) if full.startswith(without) else ""

    @cached_property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an assistant's turn, longest first.

        Raises:
            ModelError: a named template needs an end-of-sequence token that the tokenizer does not have.
        """
        tokenizer = self.tokenizer
        if self.named:
            found = set(self.named.stop or (tokenizer.eos_token or "",))
            if "" in found:
                raise ModelError(
                    f"{self.title} ends turns with the tokenizer's end-of-sequence token, but the tokenizer has none:"
                    " choose a template with its own stop token, such as chatml"
                )
        else:
            special = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
            found = special | {tokenizer.eos_token or ""}
            if tokenizer.bos_token != tokenizer.eos_token:
                found.discard(tokenizer.bos_token)
        return tuple(sorted(found - {""}, key=lambda text: (-len(text), text)))

    @cached_property
    def next_roles(self) -> tuple[str, ...]:
        """Tokens that open a message and may thereby end the assistant's turn before it."""
        return self.named.next_role if self.named else self.stops

    @property
    def closing_stop(self) -> str:
        """What closes a dialogue after whose last answer the template writes nothing."""
        return self.named.stop[0] if self.named and self.named.stop else self.tokenizer.eos_token
