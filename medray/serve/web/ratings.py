"""Rated answers as rows that `data.path` reads: what people prefer is what a later run trains on."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

RATED, PAIRS = "rated.jsonl", "preferences.jsonl"
REMEMBERED = 10_000
"""Questions whose ratings are kept in memory, to be paired with those of other answers."""
Messages = list[dict[str, str]]


class Ratings:
    """Appends to two files of a folder.

    `rated.jsonl` has a row a rating, for `kto`: prompt, completion, label. `preferences.jsonl` has a row for each two
    answers to one prompt of which one was liked and the other was not, for `dpo` and `rm`: prompt, chosen, rejected.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._lock = threading.Lock()
        self._known: OrderedDict[str, dict[str, bool]] = OrderedDict()

    def rate(self, prompt: Messages, answer: str, *, liked: bool) -> None:
        """Store what a person thinks of `answer`; said twice, it is stored once."""
        key = json.dumps(prompt, sort_keys=True)
        with self._lock:
            others = self._known.setdefault(key, {})
            self._known.move_to_end(key)
            if others.get(answer) == liked:
                return
            others[answer] = liked
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            turn = _turn(answer)
            self._append(RATED, {"prompt": prompt, "completion": turn, "label": liked})
            for other, other_liked in others.items():
                if other_liked != liked:
                    chosen, rejected = (turn, _turn(other)) if liked else (_turn(other), turn)
                    pair = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
                    self._append(PAIRS, pair)

    def _append(self, name: str, row: Mapping[str, object]) -> None:
        """One write a line: a reader never sees half of one."""
        line = json.dumps(row, ensure_ascii=False) + "\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        descriptor = os.open(self._folder / name, flags, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def _turn(answer: str) -> Messages:
    return [{"role": "assistant", "content": answer}]
