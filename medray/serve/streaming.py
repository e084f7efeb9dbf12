"""The safety hook on answers in OpenAI's form, whole or as a stream of events.

A stream passes through event by event: no token waits for the rules. The advice is an event of its own before the
first delta of any kind, corrections and disclaimer are one before the finish reason.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from medray.medical.safety.guard import AnswerWatch, Verdict

DONE = "data: [DONE]"
Choice = dict[str, Any]
SILENT = ("role", "content", "text", "index", "finish_reason", "logprobs", "stop_reason")
"""Fields of a delta, or of a completion's choice, that show nothing to a person by themselves."""


class GuardedAnswer:
    """One answer under the hook; `chat` tells the two forms of choices apart."""

    def __init__(
        self,
        verdicts: Sequence[Verdict],
        *,
        chat: bool,
        plain_text: bool = True,
        choices_each: int = 1,
    ) -> None:
        """`verdicts` has one for each prompt, each with `choices_each` answers.

        `plain_text` False leaves the words as they are, which added ones would break where they are JSON: the advice
        then travels in the field `medray_safety` alone.
        """
        self.verdicts = list(verdicts)
        self._chat = chat
        self._changes = plain_text
        self._each = choices_each
        self._watches: dict[int, AnswerWatch] = {}
        self._advised: set[int] = set()

    @property
    def faults(self) -> list[str]:
        """Rules that the answer broke, over all choices."""
        return sorted({fault for watch in self._watches.values() for fault in watch.faults})

    def whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        """A complete answer, with what the rules add."""
        sent = _Sent()
        for choice in answer["choices"]:
            index = choice["index"]
            verdict = self._verdict(index)
            holder, key = (choice["message"], "content") if self._chat else (choice, "text")
            text = "" if verdict.answer_alone else holder.get(key) or ""
            watch = self._watches[index] = verdict.watch()
            watch.feed(text)
            suffix = watch.suffix() if text or verdict.prefix else ""
            if self._changes and (verdict.prefix or suffix):
                holder[key] = (
                    (verdict.prefix + text).rstrip("\n") + suffix
                    if not text
                    else (verdict.prefix + text + suffix)
                )
            sent.add(verdict, watch.faults)
        self._mark(answer, sent)
        return answer

    async def events(self, packets: AsyncIterator[str]) -> AsyncIterator[str]:
        """The events of a stream, with those that the rules add."""
        last: dict[str, Any] = {}
        async for packet in packets:
            for event in packet.split("\n\n"):
                if not event.strip():
                    continue
                if event == DONE:
                    for chunk in self._late(last):
                        yield _event(chunk)
                if not event.startswith("data: ") or event == DONE:
                    yield f"{event}\n\n"
                    continue
                chunk = json.loads(event.removeprefix("data: "))
                last = chunk if "id" in chunk else last
                for out in self._chunks(chunk):
                    yield _event(out)

    def alone(self, answer_id: str, created: int, model: str) -> dict[str, Any]:
        """The answer that is the advice alone."""
        kind = "chat.completion" if self._chat else "text_completion"
        sent = _Sent()
        choices: list[Choice] = []
        for index in range(self._each * len(self.verdicts)):
            verdict = self._verdict(index)
            text = verdict.prefix.rstrip() + verdict.watch().suffix()
            said = (
                {"message": {"role": "assistant", "content": text}}
                if self._chat
                else {"text": text}
            )
            choices.append({"index": index, "finish_reason": "stop", "logprobs": None, **said})
            sent.add(verdict, [])
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        answer: dict[str, Any] = {
            "id": answer_id,
            "object": kind,
            "created": created,
            "model": model,
            "choices": choices,
            "usage": usage,
        }
        self._mark(answer, sent)
        return answer

    def alone_events(self, answer: dict[str, Any]) -> list[str]:
        """Format the complete answer of `alone` as server-sent events."""
        chunk = {key: value for key, value in answer.items() if key != "usage"}
        if self._chat:
            chunk["object"] = "chat.completion.chunk"
            chunk["choices"] = [
                {
                    "index": c["index"],
                    "delta": c["message"],
                    "finish_reason": "stop",
                    "logprobs": None,
                }
                for c in answer["choices"]
            ]
        return [_event(chunk), f"{DONE}\n\n"]

    def _verdict(self, index: int) -> Verdict:
        return self.verdicts[min(index // self._each, len(self.verdicts) - 1)]

    def _chunks(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """What goes out for one chunk of the model's."""
        before: list[Choice] = []
        after: list[Choice] = []
        advice, corrections = _Sent(), _Sent()
        for choice in chunk.get("choices") or ():
            index, verdict = choice["index"], self._verdict(choice["index"])
            delta = choice["delta"] if self._chat else choice
            key = "content" if self._chat else "text"
            ends = choice.get("finish_reason") is not None
            if index not in self._advised and verdict.prefix and (ends or _shows(delta, key)):
                self._advised.add(index)
                advice.add(verdict, [])
                before.append(self._added(index, verdict.prefix))
            if verdict.answer_alone:
                _silence(delta, key)
            text = delta.get(key) or ""
            if text or (ends and verdict.prefix):
                self._watches.setdefault(index, verdict.watch()).feed(text)
            watch = self._watches.get(index)
            if watch is None or not ends:
                continue
            suffix = watch.suffix()
            corrections.add(None, watch.faults)
            if suffix and self._changes:
                if text:  # the model's last words come before what is added to them
                    after.append(self._added(index, text, logprobs=choice.get("logprobs")))
                    delta[key] = ""
                    choice["logprobs"] = None
                after.append(self._added(index, suffix))
        return self._arranged(chunk, before, after, advice, corrections)

    def _arranged(
        self,
        chunk: dict[str, Any],
        before: list[Choice],
        after: list[Choice],
        advice: _Sent,
        corrections: _Sent,
    ) -> list[dict[str, Any]]:
        """The chunk between what comes before its words and after them; each says what it brings."""
        if not self._changes:
            self._mark(chunk, advice.and_(corrections))
            return [chunk]
        head = {key: value for key, value in chunk.items() if key != "usage"}
        first = [{**head, "choices": [choice]} for choice in before]
        last = [{**head, "choices": [choice]} for choice in after]
        if first:
            self._mark(first[0], advice)
        if last:
            self._mark(last[-1], corrections)
        return [*first, *last, chunk]

    def _late(self, last: dict[str, Any]) -> list[dict[str, Any]]:
        """Advice for answers that ended before they began."""
        head = {key: value for key, value in last.items() if key not in ("usage", "medray_safety")}
        chunks: list[dict[str, Any]] = []
        for index in range(self._each * len(self.verdicts)):
            verdict = self._verdict(index)
            if index in self._advised or not verdict.prefix:
                continue
            self._advised.add(index)
            sent = _Sent()
            sent.add(verdict, [])
            choices = [self._added(index, verdict.prefix)] if self._changes else []
            chunks.append({**head, "choices": choices})
            self._mark(chunks[-1], sent)
        return chunks

    def _added(self, index: int, text: str, logprobs: Any = None) -> Choice:
        content = {"delta": {"content": text}} if self._chat else {"text": text}
        return {"index": index, **content, "logprobs": logprobs, "finish_reason": None}

    def _mark(self, answer: dict[str, Any], sent: _Sent) -> None:
        """Say in a field of its own what the rules added here, for clients that show notices."""
        enforced = self.verdicts[0].guard.mode == "enforce"
        if enforced and (sent.red_flags or sent.faults):
            said: dict[str, Any] = {"red_flags": sent.red_flags, "answer_faults": sent.faults}
            answer["medray_safety"] = said if self._changes else {**said, "advice": sent.advice}


class _Sent:
    """What one event, or one whole answer, brings of the rules' own."""

    def __init__(self) -> None:
        self.red_flags: list[str] = []
        self.faults: list[str] = []
        self.advice = ""

    def add(self, verdict: Verdict | None, faults: Sequence[str]) -> None:
        """Count the advice of a verdict, and corrections of faults."""
        if verdict is not None and verdict.prefix:
            self.red_flags += [f for f in verdict.red_flags if f not in self.red_flags]
            self.advice = self.advice or verdict.prefix.rstrip()
        self.faults = sorted({*self.faults, *faults})

    def and_(self, other: _Sent) -> _Sent:
        """Combine the safety marks of two parts of a response."""
        both = _Sent()
        both.red_flags, both.advice = self.red_flags, self.advice
        both.faults = sorted({*self.faults, *other.faults})
        return both


def _shows(delta: Choice, key: str) -> bool:
    """True where a delta holds anything that a person or a program would act on: words, thoughts, calls."""
    return bool(delta.get(key)) or any(value for name, value in delta.items() if name not in SILENT)


def _silence(delta: Choice, key: str) -> None:
    """Take out what the model says, where the advice is the whole answer."""
    for name in [name for name in delta if name not in SILENT]:
        del delta[name]
    if delta.get(key):
        delta[key] = ""


def _event(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk, ensure_ascii=False, separators=(',', ':'))}\n\n"
