"""MedMCQA: `{"question", "opa", "opb", "opc", "opd", "cop", "exp", "subject_name"}`.

Source: Pal et al. 2022, arXiv:2203.14371. `cop`, the right option, counts from 0 in the release on the hub and from
1 in the original files, and nothing else tells them apart; the two are two schemas, and a value that only the other
can have stops the job.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import Fields, require, require_text, text_or_blank
from medray.data.schema import RowSchema, has
from medray.data.schemas.choice import arranged_choice, check_options, shuffle_seed_of
from medray.data.source import RowError
from medray.errors import DataError
from medray.types import Record

_OPTIONS = ("opa", "opb", "opc", "opd")


def parse_medmcqa(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """An item of the hub's release: `cop` is 0 to 3."""
    return _item(row, where, config, first=0)


def parse_medmcqa_original(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """An item of the original files: `cop` is 1 to 4."""
    return _item(row, where, config, first=1)


def _item(row: Fields, where: str, config: DataConfig, first: int) -> Record:
    cop = _whole(require(row, "cop"))
    if cop == 4 - 4 * first:
        other = "medmcqa" if first else "medmcqa-original"
        raise DataError(
            f"{where}: 'cop' is {cop}, so this release counts from {1 - first}: set data.kind={other}"
        )
    if not first <= cop < first + len(_OPTIONS):
        raise RowError("no answer", f"'cop' is {cop}; the test set has no answers: remove the row")
    options = check_options([require_text(row, key) for key in _OPTIONS])
    record = arranged_choice(
        require_text(row, "question"),
        options,
        {cop - first},
        id=where,
        lang="en",
        source=f"MedMCQA/{text_or_blank(row, 'subject_name') or 'unknown'}",
        licence="Apache-2.0",
        shuffle_seed=shuffle_seed_of(config),
    )
    return replace(record, extra={"explanation": text_or_blank(row, "exp")})


def _whole(value: Any) -> int:
    try:
        if not isinstance(value, bool | float):
            return int(value)
    except (TypeError, ValueError):
        pass
    raise RowError("wrong type", f"'cop' is {value!r}; write the number of the right option")


def _matches(first: int):
    def matches(row: Fields) -> bool:
        if not has("question", *_OPTIONS, "cop")(row):
            return False
        return str(row["cop"]) in {str(first + i) for i in range(len(_OPTIONS))}

    return matches


HUB = RowSchema(
    name="medmcqa",
    summary="MedMCQA of the hub: opa..opd, cop counted from 0",
    stages=("rl", "sft"),
    matches=_matches(0),
    parse=parse_medmcqa,
)
ORIGINAL = RowSchema(
    name="medmcqa-original",
    summary="MedMCQA's own files: opa..opd, cop counted from 1",
    stages=("rl", "sft"),
    matches=_matches(1),
    parse=parse_medmcqa_original,
)
