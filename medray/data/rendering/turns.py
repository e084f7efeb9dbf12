"""What the assistant itself wrote in a rendered chat: from the end of its header to its stop token."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from medray.data.parsing.thoughts import CLOSE, OPEN, split_thought
from medray.data.rendering.marks import MessageSpan, render_marked
from medray.data.rendering.planting import Planted, plant
from medray.data.rendering.template import Messages, Template
from medray.data.rendering.thoughts import closes, continuation, opens, thought_of
from medray.errors import ModelError

_ANSWER, _THOUGHT = (
    "MedrayAnswer",
    "MedrayThought",
)  # mixed case: a template that changes case is found out
UNCLOSED = "its thought is never closed"
"""Why a turn is not trained."""
Tools = list[dict[str, Any]] | None


class Span(NamedTuple):
    """Characters that one assistant message wrote, and why they must not be trained, if so.

    `begin` is where its header begins. `lost_thought` says that the template leaves out the thought it had.
    """

    message: int
    start: int
    end: int
    refused: str = ""
    begin: int = 0
    lost_thought: bool = False


class TurnFinder:
    """Finds the assistant's turns in the rendering of one dialogue.

    The header of a turn is the generation prompt, wherever the rendering begins the turn with one: it is what
    the engine is given and the assistant does not write. Elsewhere (no generation prompt, or an earlier turn
    that a thinking template writes without its thought) the header is what stands before a stand-in for the
    answer. Everything that follows is the assistant's, template text within a tool call or a thought included, up to
    where another message's text begins: templates that look ahead write results of tools into the turn that calls them.

    A second rendering, with words planted in every message, tells whose text is where. A thought that the template
    leaves out of the last message is put where an engine writes it: after the prompt that the engine is given.

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
        text, spans = self._spans(text, runs)
        if not spans:
            return text, spans
        planted = plant(self.messages, text, self.template.thoughts)
        seen = self._planted_texts(planted, text)
        for n, span in enumerate(spans):
            strangers = planted.strangers(span.message, seen[n])
            if strangers:
                spans[n] = span = self._without_strangers(text, span, strangers)
            if not planted.keeps_thought(span.message, seen[n]):
                spans[n] = span._replace(lost_thought=True)
            self._check(text, spans[n], self.messages[span.message])
        last = spans[-1]
        if last.message == len(self.messages) - 1 and not self.add:
            text, spans[-1] = self._after_prompt(text, last)
        return text, spans

    def _spans(self, text: str, runs: list[MessageSpan]) -> tuple[str, list[Span]]:
        """The spans as the marks tell them."""
        spans: list[Span] = []
        for i, message in enumerate(self.messages):
            if message["role"] == "assistant":
                text, span = self._span(text, self._only(runs, i))
                spans.append(span)
        return text, spans

    def _planted_texts(self, planted: Planted, known: str) -> list[str]:
        """What the assistant's spans hold once words are planted in every message."""
        context = self.template.context(self.tools, self.add)
        text, runs = render_marked(self.template.source, context, planted.messages, known)
        finder = TurnFinder(self.template, planted.messages, self.tools, self.add)
        text, spans = finder._spans(text, runs)
        return [text[span.start : span.end] for span in spans]

    def _without_strangers(self, text: str, span: Span, strangers: list[int]) -> Span:
        """The span up to where the text of a later message begins: what a rendering without that message shares."""
        if min(strangers) < span.message:
            raise self._error(
                f"writes what message {min(strangers) + 1} says among the assistant's words"
            )
        known = self.messages[: span.message + 1]
        alone = self.template.render(known, self.tools, False)
        run = self._only(self._runs(known, alone, False), span.message)
        own = alone[run.start + span.start - span.begin : run.end].rstrip()
        body = text[span.start : span.end]
        shared = len(_common_prefix(own, body))
        stop = self._stop_of(own)
        if stop and shared < len(own):
            shared = min(shared, len(own) - len(stop))
        kept = own[:shared].rstrip()
        while self._stop_of(earlier := kept.removesuffix(self._stop_of(kept)).rstrip()):
            kept = earlier  # a token that already opens the result
        if self._stop_of(kept):
            return span._replace(end=span.start + len(kept))
        for opening in self.template.next_roles:
            if body.startswith(opening, shared):
                return span._replace(end=span.start + shared + len(opening))
        raise self._error(
            f"writes what message {strangers[0] + 1} says into the assistant's turn, after no token that ends a turn"
        )

    def _stop_of(self, text: str) -> str:
        return next((stop for stop in self.template.stops if text.endswith(stop)), "")

    def _after_prompt(self, text: str, span: Span) -> tuple[str, Span]:
        """The last message as an engine writes it: its thought, or an empty one, right after the engine's prompt."""
        form, prompts = self.template.thoughts, self.template.generation_prompts
        thought = self._thought(self.messages[span.message])
        thinks = any(opens(prompt, form) or closes(prompt, form) for prompt in prompts)
        if not (thought or thinks) or len(self.messages) == 1:
            return text, span
        prompt = self.template.render(self.messages[:-1], self.tools, True)
        if text.startswith(prompt) and len(prompt) <= span.end and not span.lost_thought:
            return text, span._replace(start=len(prompt)) if thought else span
        ending = next((p for p in prompts if prompt.endswith(p)), "")
        is_open, is_closed = opens(ending, form), closes(ending, form)
        if thought and is_closed:
            raise ModelError(
                f"{self.template.title} ends its prompt after a thought, and this answer has one: set chat.variables to"
                " the template's switch for thinking ({enable_thinking: true}, {thinking: true}), take a model.template"
                " that thinks, or leave thoughts out"
            )
        if not span.lost_thought and (
            not (is_open or is_closed) or not self._changes_only(text, span, prompt, thought)
        ):
            return text, span
        if not prompt.startswith(text[: span.begin]):
            raise self._error("changes earlier messages and leaves out the thought of the last one")
        body = text[span.start : span.end]
        if thought and not span.lost_thought:
            body = split_thought(body)[1]
        own = "" if is_closed else continuation(ending, thought, form)
        written = prompt + own + body.lstrip("\n")
        moved = span._replace(start=len(prompt), end=len(written), refused="", lost_thought=False)
        return written + text[span.end :], moved

    def _changes_only(self, text: str, span: Span, prompt: str, thought: str) -> bool:
        """True where the last message alone is not as after `prompt`, and not as after one without thinking either."""
        header = text[span.begin : span.start]
        without = header in self.template.generation_prompts and closes(
            header, self.template.thoughts
        )
        return prompt.startswith(text[: span.begin]) and (bool(thought) or not without)

    def _runs(self, messages: Messages, text: str, add: bool) -> list[MessageSpan]:
        context = self.template.context(self.tools, add)
        marked, runs = render_marked(self.template.source, context, messages, text)
        if marked != text:
            raise self._error("decides by its own output what to write next")
        return runs

    def _only(self, runs: list[MessageSpan], message: int) -> MessageSpan:
        """The run of a message; its first one, where only later messages stand between it and what closes the turn."""
        own = [run for run in runs if run.message == message]
        between = [r.message for r in runs if own and own[0].start < r.start < own[-1].start]
        if not own or (len(own) > 1 and min(between) < message):
            what = "leaves out" if not own else "writes in several places"
            raise self._error(f"{what} an answer of the assistant (message {message + 1})")
        return own[0]

    def _span(self, text: str, run: MessageSpan) -> tuple[str, Span]:
        header = self._header(text[run.start : run.end], run.message)
        text, end = self._end(text, run, header)
        refused = ""
        body = text[run.start + len(header) : end]
        for opening, closing in {(OPEN, CLOSE), self.template.thoughts.tags}:
            opened = header.rfind(opening) > header.rfind(closing)
            if (opened or body.lstrip().startswith(opening)) and closing not in body:
                refused = UNCLOSED
        return text, Span(run.message, run.start + len(header), end, refused, run.start)

    def _header(self, segment: str, message: int) -> str:
        for prompt in self.template.generation_prompts:
            if segment.startswith(prompt):
                return prompt
        # Spaces before an answer belong to its first token, and no prompt holds them.
        header = self._of(message, self._headers).rstrip(" ")
        if not segment.startswith(header):
            raise self._error(f"begins message {message + 1} according to what it says")
        return header

    def _end(self, text: str, run: MessageSpan, header: str) -> tuple[str, int]:
        """Where the turn's stop token ends; `text` with the stop token, if it had to be added."""
        segment = text[run.start : run.end]
        body = segment[len(header) :].rstrip()
        if any(body.endswith(stop) for stop in self.template.stops):
            return text, run.start + len(header) + len(body)
        tail = self._of(run.message, self._tails)
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
        body = text[span.start : span.end]
        if answer not in body:
            raise self._error(f"rewrites what the assistant said (message {span.message + 1})")
        names = [call["function"]["name"] for call in message.get("tool_calls", ())]
        for name in names:
            if body.count(name) < names.count(name):
                raise self._error(f"leaves out a call of {name} (message {span.message + 1})")

    @cached_property
    def _headers(self) -> dict[int, str]:
        """What the template writes in each assistant message before a stand-in for what it says, thoughts included."""
        found = self._before_stand_ins(with_thoughts=False)
        if any(self._thought(message) for message in self.messages):
            full = self._before_stand_ins(with_thoughts=True)
            found = {i: _common_prefix(before, full[i]) for i, before in found.items() if i in full}
        return found

    def _before_stand_ins(self, *, with_thoughts: bool) -> dict[int, str]:
        around = self._around_stand_ins(with_calls=True, with_thoughts=with_thoughts)
        found = {i: before for i, (before, _) in around.items() if not self._calls_in(i, before)}
        if len(found) < sum(message["role"] == "assistant" for message in self.messages):
            around = self._around_stand_ins(with_calls=False, with_thoughts=with_thoughts)
            found = {i: before for i, (before, _) in around.items()} | found
        return found

    def _calls_in(self, message: int, text: str) -> bool:
        """True for a template that writes calls before contents."""
        calls = self.messages[message].get("tool_calls", ())
        return any(call["function"]["name"] in text for call in calls)

    @cached_property
    def _tails(self) -> dict[int, str]:
        """What the template writes in each assistant message after a stand-in for what it says."""
        found = self._around_stand_ins(with_calls=False, with_thoughts=True)
        return {i: tail for i, (_, tail) in found.items()}

    def _of(self, message: int, found: Mapping[int, str]) -> str:
        if message not in found:
            raise self._error(f"rewrites what the assistant said (message {message + 1})")
        return found[message]

    def _around_stand_ins(
        self, *, with_calls: bool, with_thoughts: bool
    ) -> dict[int, tuple[str, str]]:
        field = self.template.thoughts.field
        stand_ins = [dict(message) for message in self.messages]
        for message in stand_ins:
            if message["role"] != "assistant":
                continue
            inline = with_thoughts and CLOSE in message["content"]
            message["content"] = f"{OPEN}\n{_THOUGHT}\n{CLOSE}\n\n{_ANSWER}" if inline else _ANSWER
            if message.pop(field, "") and with_thoughts:
                message[field] = _THOUGHT
            if not with_calls:
                message.pop("tool_calls", None)
        text = self.template.render(stand_ins, self.tools, False)
        runs = self._runs(stand_ins, text, False)
        around: dict[int, tuple[str, str]] = {}
        for i, message in enumerate(stand_ins):
            if message["role"] == "assistant":
                run = self._only(runs, i)
                before, found, tail = text[run.start : run.end].partition(_ANSWER)
                if found:
                    around[i] = before.partition(_THOUGHT)[0].partition(OPEN)[0], tail
        return around

    def _thought(self, message: Mapping[str, Any]) -> str:
        if message["role"] != "assistant":
            return ""
        return thought_of(message, self.template.thoughts)

    def _error(self, what: str) -> ModelError:
        return ModelError(
            f"{self.template.title} {what}: what the assistant wrote cannot be told from the rest;"
            " set model.template to a named one (docs/TEMPLATES.md)"
        )


def _common_prefix(one: str, other: str) -> str:
    pairs = enumerate(zip(one, other, strict=False))
    end = next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
    return one[:end]
