"""From records to the trees of a supervised stage: text in blocks, dialogues, pairs, labelled responses, solutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from medray.config.supervised import ChatConfig
from medray.data.batches.trees import labelled_tree, pair_tree, sequence_tree, step_tree
from medray.data.loading.stages import Stage, labelled
from medray.data.rendering.chat import ChatOptions, ChatRenderer, RenderedChat, renderer_of
from medray.data.rendering.prompts import with_system
from medray.data.rendering.steps import joined_step, render_steps
from medray.data.rendering.truncation import truncate
from medray.data.source import RowError, Unrendered
from medray.errors import DataError, ModelError
from medray.types import Continuation, Message, PromptTree, Record, TokenIds


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a training step, and what was left out of it to make it fit."""

    tree: PromptTree
    num_cut_tokens: int = 0
    num_dropped_messages: int = 0
    num_lost_thoughts: int = 0  # of earlier turns, which the template leaves out
    num_unclosed_thoughts: int = 0  # turns that are not trained because of one


class TextExamples:
    """Pretraining: each document a sequence of its own, long ones in blocks of about equal length."""

    def __init__(self, tokenizer: Any, *, block_tokens: int, append_eos: bool) -> None:
        self.tokenizer = tokenizer
        self.block_tokens = block_tokens
        self.append_eos = append_eos

    def __call__(self, record: Record) -> Iterator[Example]:
        """The blocks of a document, in order; every token but the first of a block is trained.

        Raises:
            RowError: the text has fewer than two tokens.
        """
        ids: list[int] = self.tokenizer(record.text, verbose=False)["input_ids"]
        eos = self.tokenizer.eos_token_id
        if self.append_eos and eos is not None and ids[-1:] != [eos]:
            ids = [*ids, eos]
        if len(ids) < 2:
            raise RowError("too short", "its text has fewer than two tokens")
        for block in np.array_split(np.asarray(ids, dtype=np.int32), self.num_blocks(len(ids))):
            yield Example(sequence_tree(block))

    def num_blocks(self, num_tokens: int) -> int:
        """How many blocks a document of so many tokens is cut into."""
        return -(-num_tokens // self.block_tokens)


@dataclass(frozen=True)
class ChatExamples:
    """What the chat stages share: one rendering a dialogue, and the settings of it."""

    renderer: ChatRenderer
    chat: ChatConfig
    system: str | None = None
    train: Literal["all", "last"] = "all"
    train_on_prompt: bool = False

    def render(self, record: Record, messages: Sequence[Message]) -> RenderedChat:
        """The dialogue as tokens, with the system message that the job asks for.

        Raises:
            Unrendered: the template refuses it, or it cannot be told what the assistant wrote.
        """
        try:
            return self.renderer.render(with_system(messages, self.system), self.options(record))
        except (ModelError, DataError) as error:
            raise Unrendered(str(error)) from error

    def options(self, record: Record) -> ChatOptions:
        """How the template is asked for the record's dialogue."""
        return ChatOptions(
            tools=record.tools,
            tool_format=self.chat.tool_format,
            train=self.train,
            train_on_prompt=self.train_on_prompt,
            variables=self.chat.variables,
        )

    def require_room(self, num_tokens: int) -> None:
        """Refuse a row that is longer than `chat.max_tokens`.

        Raises:
            RowError: it is.
        """
        if num_tokens > self.chat.max_tokens:
            raise RowError(
                "too long",
                f"{num_tokens} tokens are more than chat.max_tokens={self.chat.max_tokens}",
            )


class DialogueExamples(ChatExamples):
    """Supervised fine-tuning: a dialogue is one sequence, its assistant turns trained."""

    def __call__(self, record: Record) -> Iterator[Example]:
        """The dialogue, shortened where `chat.on_long` says so.

        Raises:
            RowError: it is too long, or nothing in it is trained.
        """
        rendered = self.render(record, record.messages)
        if self.chat.on_long == "drop":
            self.require_room(len(rendered.token_ids))
        try:
            short = truncate(rendered, self.chat.max_tokens)
        except ModelError as error:  # the template refuses what is left
            raise Unrendered(str(error)) from error
        if short.rendered is None:
            raise RowError("too long", short.reason)
        if not short.rendered.trained.any():
            raise RowError("nothing trained", "no assistant turn of it is trained")
        tree = PromptTree(
            np.zeros(0, dtype=np.int32),
            (Continuation(short.rendered.token_ids, short.rendered.trained),),
        )
        lost, unclosed = short.rendered.num_lost_thoughts, short.rendered.num_unclosed_thoughts
        yield Example(tree, short.num_cut_tokens, len(short.dropped), lost, unclosed)


class PairExamples(ChatExamples):
    """Reward models, DPO and ORPO: two ways to go on after one prompt, the better one first.

    Each may be several turns, of which the assistant's are trained, from the first turn in which the two differ.
    """

    def __call__(self, record: Record) -> Iterator[Example]:
        """The pair; both responses share the tokens before the first one that is trained.

        Raises:
            RowError: a side is too long or has nothing trained, or both sides are the same.
        """
        sides = [self.response(record, r) for r in (record.chosen, record.rejected)]
        if np.array_equal(sides[0].token_ids, sides[1].token_ids):
            raise RowError("no difference", "chosen and rejected are the same text")
        prompt, (chosen, rejected) = _after_common_prompt(sides)
        tree = pair_tree(prompt, chosen, rejected, margin=record.margin)
        yield Example(tree, num_unclosed_thoughts=_num_unclosed(sides))

    def response(self, record: Record, response: Sequence[Message]) -> RenderedChat:
        """The prompt and one response to it, only the response's own turns trained."""
        num_shared = _num_shared(record.chosen, record.rejected)
        before: list[Message] = [
            {**m, "trained": False} if m["role"] == "assistant" else m
            for m in (*record.messages, *response[:num_shared])
        ]
        rendered = self.render(record, [*before, *response[num_shared:]])
        self.require_room(len(rendered.token_ids))
        if not rendered.trained.any():
            raise RowError("nothing trained", "a response of it has no trained token")
        return rendered


class LabelledExamples(PairExamples):
    """KTO: responses that are desirable or not; those to one prompt share it."""

    def __call__(self, record: Record) -> Iterator[Example]:
        """The record's responses with their labels.

        Raises:
            RowError: a response is too long or has nothing trained.
        """
        answers = list(labelled(record))
        sides = [self.response(record, messages) for messages, _ in answers]
        prompt, parts = _after_common_prompt(sides)
        labels = [good for _, good in answers]
        tree = labelled_tree(prompt, list(zip(parts, labels, strict=True)))
        yield Example(tree, num_unclosed_thoughts=_num_unclosed(sides))


class SolutionExamples(ChatExamples):
    """Process reward models: an answer in steps, scored where each labelled step ends."""

    def __call__(self, record: Record) -> Iterator[Example]:
        """The record's solution.

        Raises:
            RowError: it is too long.
        """
        separator = self.chat.step_separator
        steps = [joined_step(step["content"], separator) for step in record.steps]
        messages, options = with_system(record.messages, self.system), self.options(record)
        try:
            rendered = render_steps(self.renderer, messages, steps, separator, options)
        except (ModelError, DataError) as error:
            raise Unrendered(str(error)) from error
        self.require_room(len(rendered.token_ids))
        labels = [step.get("label") for step in record.steps]
        yield Example(step_tree(rendered.token_ids, rendered.ends, labels))


ToExamples = Callable[[Record], Iterator[Example]]


def build_examples(stage: Stage, job: Any, tokenizer: Any) -> ToExamples:
    """What turns a record, as `stage` reads it, into examples under the settings of a supervised job.

    Raises:
        ModelError: the stage needs a chat template and the tokenizer has none.
    """
    if stage == "pt":
        return TextExamples(tokenizer, block_tokens=job.block_tokens, append_eos=job.append_eos)
    kind = CHAT_EXAMPLES[stage]
    examples = kind(renderer_of(tokenizer), job.chat, job.data.system)
    if stage == "sft":
        return replace(examples, train=job.train, train_on_prompt=job.train_on_prompt)
    return examples


CHAT_EXAMPLES: Mapping[str, type[DialogueExamples | PairExamples | SolutionExamples]] = {
    "sft": DialogueExamples,
    "preference": PairExamples,
    "kto": LabelledExamples,
    "process": SolutionExamples,
}


def _num_unclosed(sides: Sequence[RenderedChat]) -> int:
    return sum(side.num_unclosed_thoughts for side in sides)


def _num_shared(chosen: Sequence[Message], rejected: Sequence[Message]) -> int:
    """Turns that both continuations begin with; 0 where one of them says nothing of its own after these."""
    pairs = enumerate(zip(chosen, rejected, strict=False))
    shared = next((i for i, (one, other) in pairs if one != other), min(len(chosen), len(rejected)))
    has_own = all(
        any(m["role"] == "assistant" for m in side[shared:]) for side in (chosen, rejected)
    )
    return shared if has_own else 0


def _after_common_prompt(sides: Sequence[RenderedChat]) -> tuple[TokenIds, list[Continuation]]:
    """The tokens that all sides begin with before any of them is trained, and what follows on each."""
    end = min(int(np.argmax(side.trained)) for side in sides)
    for side in sides[1:]:
        same = sides[0].token_ids[:end] == side.token_ids[:end]
        end = end if same.all() else int(np.argmin(same))
    prompt = sides[0].token_ids[:end]
    return prompt, [Continuation(side.token_ids[end:], side.trained[end:]) for side in sides]
