"""Records to prompts: the chat template rendered and tokenised once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medray.data.rendering.chat import ChatOptions, ChatRenderer, renderer_of
from medray.errors import DataError, ModelError
from medray.types import Message, Prompt, Record, TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NUM_SHOWN = 5


@dataclass(frozen=True, slots=True)
class RenderedPrompts:
    """Records as prompts, and the ids of those that were skipped because they are too long."""

    prompts: tuple[Prompt, ...]
    too_long: tuple[str, ...] = ()
    max_prompt_tokens: int = 0
    refused: tuple[str, ...] = ()  # by the chat template

    @property
    def reason(self) -> str:
        """Reason for the skipped prompts, naming the key that sets the limit."""
        return f"longer than data.max_prompt_tokens={self.max_prompt_tokens}"

    def skipped(self) -> str:
        """How many were skipped, why, and the first few ids; empty when none was."""
        total = len(self.prompts) + len(self.too_long) + len(self.refused)
        return "; ".join(
            f"{len(ids)} of {total} skipped, {reason} ({_shown(ids)})"
            for reason, ids in self.skipped_ids().items()
        )

    def skipped_ids(self) -> dict[str, tuple[str, ...]]:
        """The ids of those that were skipped, by reason."""
        found = {self.reason: self.too_long, "refused by the chat template": self.refused}
        return {reason: ids for reason, ids in found.items() if ids}


def render_prompts(
    records: Iterable[Record],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_prompt_tokens: int,
    system: str | None = None,
    skip_refused: bool = False,
    variables: Mapping[str, Any] | None = None,
) -> RenderedPrompts:
    """Render each record's chat up to the assistant's first token.

    Args:
        records: in order; the prompts keep it.
        tokenizer: a transformers tokenizer with a chat template.
        max_prompt_tokens: longer prompts are left out, never cut; their ids are logged.
        system: replaces the record's own system message; None keeps it.
        skip_refused: leave out and count records that the template refuses, instead of raising.
        variables: of the chat template (`enable_thinking`).

    Returns:
        The prompts, and how many were too long.

    Raises:
        ModelError: the tokenizer has no chat template, or the template refuses a record and `skip_refused` is False.
        DataError: no prompt is short enough.
    """
    renderer = renderer_of(tokenizer)
    prompts: list[Prompt] = []
    too_long: list[str] = []
    refused: list[str] = []
    for record in records:
        try:
            token_ids = _token_ids(record, renderer, system, variables or {})
        except ModelError:
            if not skip_refused:
                raise
            refused.append(record.id)
            continue
        if len(token_ids) > max_prompt_tokens:
            too_long.append(record.id)
        else:
            prompts.append(Prompt(record, token_ids))
    rendered = RenderedPrompts(tuple(prompts), tuple(too_long), max_prompt_tokens, tuple(refused))
    if too_long and not prompts:
        raise DataError(
            f"all {len(too_long)} prompts are {rendered.reason}: raise it ({_shown(rendered.too_long)})"
        )
    return rendered


def _shown(ids: Sequence[str]) -> str:
    more = ", ..." if len(ids) > _NUM_SHOWN else ""
    return ", ".join(ids[:_NUM_SHOWN]) + more


def with_system(messages: Sequence[Message], system: str | None) -> list[Message]:
    """The chat with `system` as its only system message; unchanged when `system` is None."""
    if system is None:
        return list(messages)
    rest = [m for m in messages if m["role"] != "system"]
    return [{"role": "system", "content": system}, *rest]


def _token_ids(
    record: Record, renderer: ChatRenderer, system: str | None, variables: Mapping[str, Any]
) -> TokenIds:
    from jinja2 import TemplateError

    options = ChatOptions(tools=record.tools, variables=variables)
    try:
        return renderer.prompt_ids(with_system(record.messages, system), options)
    except (TemplateError, TypeError) as error:
        raise ModelError(
            f"the model's chat template rejects record {record.id}: {error}: check the roles of its"
            " messages (some templates have no system message: leave data.system unset)"
        ) from error
