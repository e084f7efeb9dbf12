"""What is said in a record, as one text."""

from __future__ import annotations

from medray.types import Record


def all_text(record: Record) -> str:
    """Everything that is said in a record but the system's words, a paragraph each."""
    texts = (record.text, *(m["content"] for m in record.turns if m["role"] != "system"))
    return "\n\n".join(text for text in texts if text)


def num_characters(record: Record) -> int:
    """Characters of all that is said in a record."""
    return len(record.text) + sum(len(message["content"]) for message in record.turns)
