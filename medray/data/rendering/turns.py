"""What the assistant itself wrote in a rendered chat: from the end of its header to its stop token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from medray.data.rendering.marks import Run, render_marked
from medray.data.rendering.template import Messages, Template
from medray.errors import ModelError

_ANSWER, _THOUGHT = (
    "MedrayAnswer",
    "MedrayThought",
)  # mixed case: a template that changes case is found out
_NUM_SHAPES = 512
Tools = list[dict[str, Any]] | None


class Span(NamedTuple):
    """Characters that one assistant message wrote, and why they must not be trained, if so."""

    message: int
    start: int
    end: int
    refused: str = ""


class Around(NamedTuple):
    """What the template writes before and after an answer."""

    header: str
    tail: str


class TurnFinder:
    """Finds the assistant's turns in the rendering of one template.

    The header of a turn is the generation prompt, wherever the rendering begins the turn with one: it is what
    the engine is given and the assistant does not write. Elsewhere (no generation prompt, or an earlier turn
    that a thinking template writes without its thought) the header is what stands before a stand-in for the
    answer. Everything that follows is the assistant's, template text within a tool call or a thought included.
    """

    def __init__(self, template: Template) -> None:
        self.template = template
        self._around: dict[Any, Around] = {}

    def find(
        self, text: str, messages: Messages, tools: Tools, add: bool
    ) -> tuple[str, list[Span]]:
        """The assistant's spans in `text`, the plain rendering.

        Returns:
            `text`, with the stop token added when the template writes none after a last answer; the spans.

        Raises:
            ModelError: the template makes it impossible to tell what the assistant wrote.
        """
        context = self.template.context(tools, add)
        runs = render_marked(self.template.source, context, messages, text)
        if runs is None:
            raise self._error("decides by its own output what to write next")
        spans: list[Span] = []
        for i, message in enumerate(messages):
            if message["role"] == "assistant":
                run = self._only(runs, i)
                text, span = self._span(text, run, messages, tools)
                self._check(text, span, message)
                spans.append(span)
        return text, spans

    def _only(self, runs: list[Run], message: int) -> Run:
        own = [run for run in runs if run.message == message]
        if len(own) != 1:
            what = "leaves out" if not own else "writes in several places"
            raise self._error(f"{what} an answer of the assistant (message {message + 1})")
        return own[0]

    def _span(self, text: str, run: Run, messages: Messages, tools: Tools) -> tuple[str, Span]:
        segment = text[run.start : run.end]
        header = self._header(segment, run.message, messages, tools)
        text, end = self._end(text, run, header, messages, tools)
        refused = ""
        body = text[run.start + len(header) : end]
        opened = header.rfind("<think>") > header.rfind("</think>")
        if (opened or body.lstrip().startswith("<think>")) and "</think>" not in body:
            refused = "its thought is never closed"
        return text, Span(run.message, run.start + len(header), end, refused)

    def _header(self, segment: str, message: int, messages: Messages, tools: Tools) -> str:
        for prompt in self.template.generation_prompts:
            if segment.startswith(prompt):
                return prompt
        # Spaces before an answer belong to its first token, and no prompt holds them.
        header = self._probe(message, messages, tools).header.rstrip(" ")
        if not segment.startswith(header):
            raise self._error(f"begins message {message + 1} according to what it says")
        return header

    def _end(
        self, text: str, run: Run, header: str, messages: Messages, tools: Tools
    ) -> tuple[str, int]:
        """Where the turn's stop token ends; `text` with the stop token, if it had to be added."""
        segment = text[run.start : run.end]
        body = segment[len(header) :].rstrip()
        if any(body.endswith(stop) for stop in self.template.stops):
            return text, run.start + len(header) + len(body)
        tail = self._probe(run.message, messages, tools).tail
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

    def _probe(self, message: int, messages: Messages, tools: Tools) -> Around:
        """What stands around a stand-in for one answer, in a dialogue of the same shape."""
        key = (message, tuple(_shape(m) for m in messages), bool(tools))
        if key not in self._around:
            if len(self._around) >= _NUM_SHAPES:
                self._around.clear()
            self._around[key] = self._probed(message, messages, tools)
        return self._around[key]

    def _probed(self, message: int, messages: Messages, tools: Tools) -> Around:
        thinks = "</think>" in messages[message]["content"]
        content = f"<think>\n{_THOUGHT}\n</think>\n\n{_ANSWER}" if thinks else _ANSWER
        probe = [dict(m) for m in messages]
        probe[message] |= {"content": content}
        probe[message].pop("tool_calls", None)
        text = self.template.render(probe, tools, False)
        runs = render_marked(self.template.source, self.template.context(tools, False), probe, text)
        if runs is None:
            raise self._error("decides by its own output what to write next")
        run = self._only(runs, message)
        before, answer, tail = text[run.start : run.end].partition(_ANSWER)
        if not answer:
            raise self._error(f"rewrites what the assistant said (message {message + 1})")
        if thinks:
            before = before.partition(_THOUGHT)[0].partition("<think>")[0]
        return Around(before, tail)

    def _error(self, what: str) -> ModelError:
        return ModelError(
            f"{self.template.title} {what}: what the assistant wrote cannot be told from the rest;"
            " set model.template to a named one (docs/TEMPLATES.md)"
        )


def _shape(message: Mapping[str, Any]) -> tuple[Any, ...]:
    content = message["content"]
    return message["role"], bool(content), "</think>" in content, tuple(sorted(message))
