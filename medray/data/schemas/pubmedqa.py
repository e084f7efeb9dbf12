"""PubMedQA's labelled set: an abstract without its conclusion, a question, and yes, no or maybe.

Source: Jin et al. 2019, arXiv:1909.06146; file `ori_pqal.json`, official test ids in
`test_ground_truth.json`. On the hub: rows of `{"pubid", "question", "context": {"contexts"}, "final_decision"}`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medray.config.data import DataConfig
from medray.data.files.data_file import DataFile
from medray.data.files.encoding import UTF8_BOM
from medray.data.files.opening import sample
from medray.data.parsing.fields import (
    check_object,
    check_text,
    require,
    require_scalar,
    require_text,
)
from medray.data.schema import RowSchema, has
from medray.data.source import BadRow, Row, RowError, Source
from medray.errors import DataError
from medray.types import Record

LABELS = ("yes", "no", "maybe")
TEST_FILE = "test_ground_truth.json"
_BEGINNING = re.compile(rb'\s*\{\s*"\d+"\s*:\s*\{')


def read_pubmedqa(config: DataConfig) -> Source:
    """Records by PMID; the official test file beside `data.path`, if there, is the held-out side.

    Raises:
        DataError: a file is unreadable, not UTF-8, not JSON, not an object, or repeats a PMID.
    """
    path = _path_of(config)
    content = _read_bytes(path)
    rows = _load_object(content, path)
    digests = {path.name: hashlib.sha256(content).hexdigest()}
    test: Mapping[str, Any] = {}
    test_path = path.with_name(TEST_FILE)
    if test_path.exists():
        content = _read_bytes(test_path)
        test = _load_object(content, test_path)
        digests[test_path.name] = hashlib.sha256(content).hexdigest()
    return Source(
        name=str(path),
        rows=_rows(rows, path, test),
        digests=digests,
        held_out_ids=frozenset(test) if test.keys() & rows.keys() else None,
    )


def is_pubmedqa_file(file: DataFile) -> bool:
    """True for a JSON object keyed by PMIDs."""
    if file.format != "json":
        return False
    return _BEGINNING.match(sample(file).removeprefix(UTF8_BOM)) is not None


def parse_pubmedqa_hub(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One article as the hub has it."""
    pmid = require_scalar(row, "pubid")
    inner = {
        "QUESTION": require(row, "question"),
        "CONTEXTS": require(check_object(require(row, "context"), "context"), "contexts"),
        "final_decision": require(row, "final_decision"),
    }
    return parse_pubmedqa(inner, pmid)


def _path_of(config: DataConfig) -> Path:
    path = Path(str(config.path))
    if path.is_dir():
        raise DataError(f"data.path={path} is a folder: name the file in it, or set data.kind=auto")
    if not path.exists():
        raise DataError(f"data.path={path} does not exist: check it and the working directory")
    return path


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not content.removeprefix(UTF8_BOM).strip():
        raise DataError(f"{path} is empty: point data.path at a file with rows")
    return content


def _rows(rows: Mapping[str, Any], path: Path, test: Mapping[str, Any]) -> Iterator[Row | BadRow]:
    for pmid, row in rows.items():
        where = f"{path}: PMID {pmid}"
        try:
            yield Row(where, parse_pubmedqa(row, pmid, test.get(pmid)))
        except RowError as error:
            yield BadRow(where, error.reason, error.detail)


def parse_pubmedqa(row: Any, pmid: str, test_label: Any = None) -> Record:
    """One article as a record; `test_label` is the official answer of a test PMID."""
    if not isinstance(row, dict):
        raise RowError(
            "not an object", "write an object with QUESTION, CONTEXTS and final_decision"
        )
    question = require_text(row, "QUESTION")
    contexts = require(row, "CONTEXTS")
    if not isinstance(contexts, list):
        raise RowError("wrong type", "'CONTEXTS' must be a list of paragraphs")
    if not contexts:
        raise RowError("empty value", "'CONTEXTS' has no paragraph; remove the row")
    abstract = "\n".join(check_text(c, f"CONTEXTS[{i}]") for i, c in enumerate(contexts))
    label = require_text(row, "final_decision")
    if label not in LABELS:
        raise RowError("unknown label", f"'final_decision' is {label!r}; write yes, no or maybe")
    if test_label is not None and test_label != label:
        raise RowError(
            "labels disagree",
            f"{TEST_FILE} says {test_label!r}, the row {label!r}; download both again",
        )
    return Record(
        id=pmid,
        messages=({"role": "user", "content": _prompt(abstract, question)},),
        answer=label,
        options=LABELS,
        task="pubmedqa",
        source="PubMedQA PQA-L",
        licence="MIT",
        group_id=pmid,
    )


def _prompt(abstract: str, question: str) -> str:
    return f"Abstract:\n{abstract}\n\nQuestion: {question}\n\nAnswer yes, no or maybe."


def _load_object(content: bytes, path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(
            content.removeprefix(UTF8_BOM).decode("utf-8"), object_pairs_hook=_unique
        )
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: invalid UTF-8: re-save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}: not valid JSON ({error.msg}): download it again"
        ) from None
    except _RepeatedKey as error:
        raise DataError(f"{path}: {error.args[0]} appears twice: keep one of them") from None
    if not isinstance(loaded, dict):
        raise DataError(
            f"{path}: the top level must be an object keyed by PMID, as in ori_pqal.json"
        )
    return loaded


class _RepeatedKey(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        raise _RepeatedKey(next(k for k, _ in pairs if k in seen or seen.add(k)))
    return found


HUB = RowSchema(
    name="pubmedqa-hub",
    summary="PubMedQA of the hub",
    stages=("rl", "sft"),
    matches=has("pubid", "question", "context", "final_decision"),
    parse=parse_pubmedqa_hub,
)
