"""A patient who tells what the policy asks for, and nothing else.

The record's `extra.findings` maps what may be asked for to what the patient then says. Keys are lower-case words or
phrases, alternatives separated by "|": `{"fever|temperature": "I have had 39 degrees since Monday."}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medray.config.base import Section
from medray.errors import DataError
from medray.thoughts import visible_text
from medray.types import Record


class Interview:
    """Ends when the policy gives its conclusion."""

    class Options(Section):
        """Options of the `interview` environment."""

        conclusion: str = "diagnosis:"
        """A turn with this text (upper or lower case) ends the interview."""
        unknown: str = "I could not say."
        """The answer to a question for nothing that is known."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def reply(self, record: Record, turns: Sequence[str]) -> str | None:
        """All findings that the last turn asks for, in the record's order.

        Raises:
            DataError: the record has no findings.
        """
        asked = visible_text(turns[-1]).lower()
        if self.options.conclusion.lower() in asked:
            return None
        findings = record.extra.get("findings")
        if not isinstance(findings, Mapping):
            raise DataError(
                f"record {record.id}: extra.findings is missing: the interview needs a mapping of the findings "
                "that can be asked for"
            )
        told = [
            str(said)
            for key, said in findings.items()
            if any(word.strip() in asked for word in str(key).lower().split("|"))
        ]
        return " ".join(told) or self.options.unknown
