"""One more turn in which the policy may correct itself."""

from __future__ import annotations

from collections.abc import Sequence

from medray.config.base import Section
from medray.types import Record

TEXTS = {
    "en": "Check your answer against the question once more, then give your final answer.",
    "zh": "请对照题目再检查一遍你的答案,然后给出最终答案。",
}


class SelfCheck:
    """Asks for the final answer after each answer, until the turns are used up."""

    class Options(Section):
        """Options of the `self_check` environment."""

        text: str | None = None
        """What is asked; None asks in the record's language."""

    def __init__(self, options: Options) -> None:
        self.text = options.text

    def reply(self, record: Record, turns: Sequence[str]) -> str | None:
        """The same request every time."""
        return self.text or TEXTS.get(record.lang, TEXTS["en"])
