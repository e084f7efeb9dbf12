"""Documents for pretraining from the ICD-10-CM code list: what a code means, where it belongs, its other names."""

from __future__ import annotations

from medray.config.data import DataConfig
from medray.data.schemas.icd10_codes import (
    LICENCE,
    PACKAGE,
    ancestors,
    code_table,
    generated_source,
    other_terms,
)
from medray.data.source import Source
from medray.types import Record

PREFIX = "icd10-text"


def read_icd10_text(config: DataConfig) -> Source:
    """`num_train` and `num_eval` documents, one a code, drawn by `data.seed`."""
    return generated_source(config, PREFIX, icd10_document)


def icd10_document(index: int, allowed: frozenset[int] | None) -> Record:
    """The document about code `index`, which speaks of `allowed` codes only."""
    code = code_table()[0][index]
    lines = [f"ICD-10-CM code {code.code}: {code.meaning}."]
    lines += [f"{_rank(name)} {name}: {meaning}." for name, meaning in ancestors(code, allowed)]
    if terms := other_terms(code, allowed):
        lines.append(f"Also recorded as: {'; '.join(terms)}.")
    return Record(
        id=f"{PREFIX}/{code.code}",
        messages=(),
        text="\n".join(lines),
        task="text",
        source=PACKAGE,
        licence=LICENCE,
        group_id=code.code,
    )


def _rank(name: str) -> str:
    if name.isdigit():
        return "Chapter"
    if "-" in name:
        return "Block"
    return "Category" if len(name) == 3 else "Subcategory"
