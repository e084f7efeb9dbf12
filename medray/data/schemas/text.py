"""Plain text for pretraining: `{"text": ...}` rows, or .txt files cut into documents.

In a .txt file `data.documents` says what one document is: a paragraph (lines up to a blank one), a line,
or the file.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import require_text
from medray.data.parsing.language import guess_language, text_group
from medray.data.schema import RowSchema, has
from medray.data.schemas.sharegpt import source_of
from medray.types import Record


def parse_text(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One document. Optional: `source`."""
    text = require_text(row, "text")
    return Record(
        id=where,
        messages=(),
        text=text,
        task="text",
        lang=guess_language(text),
        source=source_of(row, where),
        group_id=text_group(text),
    )


SCHEMA = RowSchema(
    name="text",
    summary="documents for pretraining",
    stages=("pt",),
    matches=has("text"),
    parse=parse_text,
    reads=frozenset({"text"}),
)
