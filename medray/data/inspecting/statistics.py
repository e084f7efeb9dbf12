"""What is in a dataset: counts, lengths, languages, duplicates, oddities."""

from __future__ import annotations

import hashlib
import itertools
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from medray.data.loading.split import group_of
from medray.data.loading.stages import STAGES, fits
from medray.data.parsing.grouping import exchanges
from medray.data.parsing.language import text_group
from medray.data.parsing.turns import user_text
from medray.types import Message, Record

PERCENTILES = (0, 50, 90, 99, 100)
_MARKUP = re.compile(r"<\|[a-zA-Z_]{2,20}\|>|\[/?INST\]|</?s>|<(?:start|end)_of_turn>")
"""Control tokens of chat templates, which a tokenizer may take for what they are."""
_LINE = re.compile(r":\d+$")


class DatasetStatistics:
    """Numbers over records seen one at a time: a few words of memory for each, never the record."""

    def __init__(self) -> None:
        self.num_records = 0
        self.roles = Counter[str]()
        self.languages = Counter[str]()
        self.sources = Counter[str]()
        self.tasks = Counter[str]()
        self.stages = Counter[str]()
        self.notes = Counter[str]()
        self.num_repeated_records = 0
        self.num_repeated_prompts = 0
        self.num_shared_turns = 0
        self._turns = array("I")
        self._characters = {name: array("Q") for name in ("record", "prompt", "answer")}
        self._records_seen = set[bytes]()
        self._prompts_seen = set[bytes]()
        self._groups = set[bytes]()
        self._group_of_turn: dict[bytes, bytes] = {}

    def add(self, record: Record) -> None:
        """Add one record to every statistic."""
        self.num_records += 1
        turns = record.turns
        self.roles.update(message["role"] for message in turns)
        self.languages[record.lang] += 1
        self.sources[_LINE.sub("", record.source) or "unknown"] += 1
        self.tasks[record.task or "none"] += 1
        self.stages.update(stage for stage in STAGES if fits(record, stage))
        self.notes.update(oddities(record))
        self._turns.append(len(record.messages))
        answers = [m for m in turns if m["role"] == "assistant"]
        total = len(record.text) + _num_characters(turns)
        self._characters["record"].append(total)
        if turns:
            self._characters["prompt"].append(total - _num_characters(answers))
        self._characters["answer"].extend(len(m["content"]) for m in answers)
        self._count_repeats(record)

    def _count_repeats(self, record: Record) -> None:
        said = user_text(record.messages) or (record.text,)
        continuations = [repr((record.chosen, record.rejected, record.answer, record.steps))]
        answers = [m["content"] for m in record.messages if m["role"] != "user"]
        prompt = bytes.fromhex(text_group(*said))
        whole = hashlib.sha256(prompt + "\0".join(answers + continuations).encode()).digest()[:8]
        self.num_repeated_prompts += prompt in self._prompts_seen
        self.num_repeated_records += whole in self._records_seen
        self._prompts_seen.add(prompt)
        self._records_seen.add(whole)
        group = hashlib.sha256(group_of(record).encode()).digest()[:8]
        self._groups.add(group)
        for turn in exchanges(record):
            self.num_shared_turns += self._group_of_turn.setdefault(turn, group) != group

    def as_dict(self) -> dict[str, Any]:
        """All numbers, as JSON values."""
        return {
            "records": self.num_records,
            "groups": len(self._groups),
            "repeated_records": self.num_repeated_records,
            "repeated_prompts": self.num_repeated_prompts,
            "turns_shared_by_groups": self.num_shared_turns,
            "turns": percentiles(self._turns),
            "characters": {name: percentiles(values) for name, values in self._characters.items()},
            "roles": dict(self.roles.most_common()),
            "languages": dict(self.languages.most_common()),
            "tasks": dict(self.tasks.most_common()),
            "sources": dict(self.sources.most_common()),
            "stages": {stage: self.stages[stage] for stage in STAGES},
            "notes": dict(self.notes.most_common()),
        }


def oddities(record: Record) -> Iterator[str]:
    """What is allowed in a record, but often a mistake."""
    messages = record.messages
    roles = [message["role"] for message in messages]
    if not record.chosen and not record.rejected and not record.steps:
        if len(roles) > 1 and roles[-1] in ("user", "tool") and "assistant" in roles:
            yield "last turn is not answered"
        if roles and roles[0] == "assistant":
            yield "begins with the assistant"
    if any(one == other != "tool" for one, other in itertools.pairwise(roles)):
        yield "two turns of one role in a row"
    if any(not called for called in _results_called_for(messages)):
        yield "tool result without a call"
    if record.chosen and record.rejected:
        better, worse = (turns[-1]["content"] for turns in (record.chosen, record.rejected))
        if better and worse != better and worse.startswith(better):
            yield "rejected begins with chosen"
    if any(_MARKUP.search(m["content"]) for m in messages if m["role"] == "user"):
        yield "chat markup in what the user says"
    names = {str(tool["name"]) for tool in record.tools}
    calls = [c["name"] for m in (*messages, *record.chosen) for c in m.get("tool_calls", ())]
    if any(name not in names for name in calls):
        yield "call of a tool that is not described"


def percentiles(values: Sequence[int]) -> dict[str, float]:
    """Smallest, median, 90th and 99th percentile (nearest rank), largest, mean; {} for none."""
    if not values:
        return {}
    ordered = sorted(values)
    last = len(ordered) - 1
    found = {_name(p): float(ordered[round(p / 100 * last)]) for p in PERCENTILES}
    return {**found, "mean": round(sum(ordered) / len(ordered), 1)}


def _results_called_for(messages: Iterable[Message]) -> Iterator[bool]:
    was_called = False
    for message in messages:
        if message["role"] == "tool":
            yield was_called
        else:
            was_called = bool(message.get("tool_calls"))


def _num_characters(messages: Iterable[Message]) -> int:
    return sum(len(message["content"]) for message in messages)


def _name(percentile: int) -> str:
    return {0: "min", 50: "median", 100: "max"}.get(percentile, f"p{percentile}")
