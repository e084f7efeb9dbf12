"""What the assistant itself wrote in a rendered chat: from the end of its header to its stop token."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from medray.data.rendering.marks import MessageSpan, render_marked
from medray.data.rendering.template import Messages, Template
from medray.errors import ModelError

_ANSWER, _THOUGHT = (
    "MedrayAnswer",
    "MedrayThought",
)  # mixed case: a template that changes case is found out
Tools = list[dict[str, Any]] | None


class Span(NamedTuple):
    """Characters that one assistant message wrote, and why they must not be trained, if so."""

    message: int
    start: int
    end: int
    refused: str = ""


class TurnFinder:
    """Finds the assistant's turns in the rendering of one dialogue.

    The header of a turn is the generation prompt, wherever the rendering begins the turn with one: it is what
    the engine is given and the assistant does not write. Elsewhere (no generation prompt, or an earlier turn
    that a thinking template writes without its thought) the header is what stands before a stand-in for the
    answer. Everything that follows is the assistant's, template text within a tool call or a thought included.

    Args:
        template: the template, as its tokenizer renders it.
        messages: the dialogue, in the form that the template takes.
        tools: passed to the template.
        add: whether the rendering ends with a generation prompt.
    """

    def __init__(self, template: Template, messages: Messages, tools: Tools, add: bool) -> None:
        self.template = template
        self.messages = messages
        self.tools = tools
        self.add = add

    def find(self, text: str) -> tuple[str, list[Span]]:
        """The assistant's spans in `text`, the plain rendering.

        Returns:
            `text`, with the stop token added when the template writes none after a last answer; the spans.

        Raises:
            ModelError: the template makes it impossible to tell what the assistant wrote.
        """
        runs = self._runs(self.messages, text, self.add)
        spans: list[Span] = []
        for i, message in enumerate(self.messages):
            if message["role"] == "assistant":
                text, span = self._span(text, self._only(runs, i))
                self._check(text, span, message)
                spans.append(span)
        return text, spans

    def _runs(self, messages: Messages, text: str, add: bool) -> list[MessageSpan]:
        context = self.template.context(self.tools, add)
        runs = render_marked(self.template.source, context, messages, text)
        if runs is None:
            raise self._error("decides by its own output what to write next")
        return runs

    def _only(self, runs: list[MessageSpan], message: int) -> MessageSpan:
        own = [run for run in runs if run.message == message]
        if len(own) != 1:
            what = "leaves out" if not own else "writes in several places"
            raise self._error(f"{what} an answer of the assistant (message {message + 1})")
        return own[0]

    def _span(self, text: str, run: MessageSpan) -> tuple[str, Span]:
        header = self._header(text[run.start : run.end], run.message)
        text, end = self._end(text, run, header)
        refused = ""
        body = text[run.start + len(header) : end]
        opened = header.rfind("<think>") > header.rfind("</think>")
        if (opened or body.lstrip().startswith("<think>")) and "</think>" not in body:
            refused = "its thought is never closed"
        return text, Span(run.message, run.start + len(header), end, refused)

    def _header(self, segment: str, message: int) -> str:
        for prompt in self.template.generation_prompts:
            if segment.startswith(prompt):
                return prompt
        # Spaces before an answer belong to its first token, and no prompt holds them.
        header = self._headers[message].rstrip(" ")
        if not segment.startswith(header):
            raise self._error(f"begins message {message + 1} according to what it says")
        return header

    def _end(self, text: str, run: MessageSpan, header: str) -> tuple[str, int]:
        """Where the turn's stop token ends; `text` with the stop token, if it had to be added."""
        segment = text[run.start : run.end]
        body = segment[len(header) :].rstrip()
        if any(body.endswith(stop) for stop in self.template.stops):
            return text, run.start + len(header) + len(body)
        tail = self._tails[run.message]
        places = [(at, stop) for stop in self.template.stops if (at := tail.find(stop)) >= 0]
        if places:
            at, stop = min(places)
            after = tail[at + len(stop) :]
            if segment.endswith(after):
                return text, run.end - len(after)
        if not tail.strip():
            following = text[run.end :]
            opening = next((t for t in self.template.next_roles if following.startswith(t)), "")
            if opening:
                return text, run.end + len(opening)
            if not following and not tail and (stop := self.template.closing_stop):
                return text + stop, len(text) + len(stop)
        raise self._error(
            "writes no stop token after an answer, so a model trained on it would never stop"
        )

    def _check(self, text: str, span: Span, message: Mapping[str, Any]) -> None:
        answer = message["content"].rpartition("</think>")[2].strip()
        if answer not in text[span.start : span.end]:
            raise self._error(f"rewrites what the assistant said (message {span.message + 1})")

    @cached_property
    def _headers(self) -> dict[int, str]:
        """What the template writes in each assistant message before a stand-in for what it says."""
        headers: dict[int, str] = {}
        for i, (before, _) in self._around_stand_ins(with_calls=True).items():
            if "</think>" in self.messages[i]["content"]:
                before = before.partition(_THOUGHT)[0].partition("<think>")[0]
            headers[i] = before
        return headers

    @cached_property
    def _tails(self) -> dict[int, str]:
        """What the template writes in each assistant message after a stand-in for what it says."""
        return {i: tail for i, (_, tail) in self._around_stand_ins(with_calls=False).items()}

    def _around_stand_ins(self, *, with_calls: bool) -> dict[int, tuple[str, str]]:
        stand_ins = [dict(message) for message in self.messages]
        own = [message for message in stand_ins if message["role"] == "assistant"]
        for message in own:
            thinks = "</think>" in message["content"]
            message["content"] = (
                f"<think>\n{_THOUGHT}\n</think>\n\n{_ANSWER}" if thinks else _ANSWER
            )
            if not with_calls:
                message.pop("tool_calls", None)
        text = self.template.render(stand_ins, self.tools, False)
        runs = self._runs(stand_ins, text, False)
        around: dict[int, tuple[str, str]] = {}
        for i, message in enumerate(stand_ins):
            if message["role"] == "assistant":
                run = self._only(runs, i)
                before, found, tail = text[run.start : run.end].partition(_ANSWER)
                if not found:
                    raise self._error(f"rewrites what the assistant said (message {i + 1})")
                around[i] = before, tail
        return around

    def _error(self, what: str) -> ModelError:
        return ModelError(
            f"{self.template.title} {what}: what the assistant wrote cannot be told from the rest;"
            " set model.template to a named one (docs/TEMPLATES.md)"
        )
