"""The safety hook on answers in OpenAI's form, whole or as a stream of events.

A stream passes through event by event: no token waits for the rules. The advice is an event of its own before the
first words, corrections and disclaimer are one before the finish reason.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from medray.medical.safety.guard import AnswerWatch, Verdict

DONE = "data: [DONE]"
Choice = dict[str, Any]


class GuardedAnswer:
    """One answer under the hook; `chat` tells the two forms of choices apart."""

    def __init__(self, verdict: Verdict, *, chat: bool, plain_text: bool = True) -> None:
        """`plain_text` False leaves the answer as it is and only watches: added words would break JSON."""
        self._verdict = verdict
        self._chat = chat
        self._changes = plain_text
        self._watches: dict[int, AnswerWatch] = {}

    @property
    def faults(self) -> list[str]:
        """Rules that the answer broke, over all choices."""
        return sorted({fault for watch in self._watches.values() for fault in watch.faults})

    def whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        """A complete answer, with what the rules add."""
        for choice in answer["choices"]:
            holder, key = (choice["message"], "content") if self._chat else (choice, "text")
            text = holder.get(key)
            if not text:  # a tool call
                continue
            watch = self._watches[choice["index"]] = self._verdict.watch()
            watch.feed(text)
            suffix = watch.suffix()
            if self._changes:
                holder[key] = self._verdict.prefix + text + suffix
        self._mark(answer)
        return answer

    async def events(self, packets: AsyncIterator[str]) -> AsyncIterator[str]:
        """The events of a stream, with those that the rules add."""
        async for packet in packets:
            for event in packet.split("\n\n"):
                if not event.strip():
                    continue
                if not event.startswith("data: ") or event == DONE:
                    yield f"{event}\n\n"
                    continue
                for chunk in self._chunks(json.loads(event.removeprefix("data: "))):
                    yield _event(chunk)

    def alone(self, answer_id: str, created: int, model: str, num_choices: int) -> dict[str, Any]:
        """The answer that is the advice alone."""
        text = self._verdict.prefix.rstrip() + self._verdict.watch().suffix()
        kind = "chat.completion" if self._chat else "text_completion"
        choices = [
            {"index": i, "finish_reason": "stop", "logprobs": None, **self._content(text)}
            for i in range(num_choices)
        ]
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        answer: dict[str, Any] = {
            "id": answer_id,
            "object": kind,
            "created": created,
            "model": model,
            "choices": choices,
            "usage": usage,
        }
        self._mark(answer)
        return answer

    def alone_events(self, answer: dict[str, Any]) -> list[str]:
        """`alone` as a stream."""
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

    def _content(self, text: str) -> Choice:
        return {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}

    def _chunks(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """What goes out for one chunk of the model's."""
        before: list[Choice] = []
        after: list[Choice] = []
        for choice in chunk.get("choices") or ():
            index = choice["index"]
            delta = choice["delta"] if self._chat else choice
            text = (delta.get("content") if self._chat else delta.get("text")) or ""
            watch = self._watches.get(index)
            if watch is None and text:
                watch = self._watches[index] = self._verdict.watch()
                if self._verdict.prefix:
                    before.append(self._added(index, self._verdict.prefix))
            if watch is None:
                continue
            watch.feed(text)
            if choice.get("finish_reason") is None:
                continue
            suffix = watch.suffix()
            if suffix and self._changes:
                if text:  # the model's last words come before what is added to them
                    after.append(self._added(index, text, logprobs=choice.get("logprobs")))
                    delta["content" if self._chat else "text"] = ""
                    choice["logprobs"] = None
                after.append(self._added(index, suffix))
        if not self._changes or not (before or after):
            return [chunk]
        head = {key: value for key, value in chunk.items() if key != "usage"}
        added = [{**head, "choices": [choice]} for choice in (*before, *after)]
        self._mark(added[0])
        return [*added, chunk]

    def _added(self, index: int, text: str, logprobs: Any = None) -> Choice:
        content = {"delta": {"content": text}} if self._chat else {"text": text}
        return {"index": index, **content, "logprobs": logprobs, "finish_reason": None}

    def _mark(self, answer: dict[str, Any]) -> None:
        """Say in a field of its own which rules changed the answer, for clients that show notices."""
        if self._verdict.guard.mode == "enforce" and (self._verdict.red_flags or self.faults):
            answer["medray_safety"] = {
                "red_flags": list(self._verdict.red_flags),
                "answer_faults": self.faults,
            }


def _event(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk, ensure_ascii=False, separators=(',', ':'))}\n\n"
