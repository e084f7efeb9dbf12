"""The data section: what is read when nothing, a path or several sources are named."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from medray.config.data import GENERATED_KINDS, DataConfig
from medray.data.registry import SCHEMAS


def make(**settings: Any) -> DataConfig:
    return DataConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "icd10"),
        ({"num_train": 3}, "icd10"),
        ({"path": "x.jsonl"}, "auto"),
        ({"path": "x.jsonl", "kind": "qa"}, "qa"),
        ({"sources": [{"path": "x"}]}, "auto"),
        ({"kind": "icd10-sft"}, "icd10-sft"),
    ],
)
def test_a_path_without_a_kind_is_looked_at(settings: dict[str, Any], kind: str) -> None:
    assert make(**settings).kind == kind


def test_a_job_with_another_default_keeps_the_rule() -> None:
    class SftData(DataConfig):
        kind: str = "icd10-sft"

    assert SftData().kind == "icd10-sft"
    assert SftData(path="x").kind == "auto"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "qa"}, "data.kind=qa reads a file: set data.path"),
        ({"kind": "auto"}, "data.kind=auto reads a file: set data.path"),
        ({"kind": "icd10", "path": "x"}, "would ignore data.path=x: remove one of the two"),
        ({"path": "x", "sources": [{"path": "y"}]}, "data.sources and data.path are both set"),
        ({"kind": "qa", "sources": [{"path": "y"}]}, "set the kind of each source"),
        ({"sources": [{"weight": 2}]}, "a source of kind auto reads a file: set its path"),
        ({"sources": [{"path": "x", "weight": 0}]}, "greater than 0"),
        ({"kind": "icd10", "eval_path": "x"}, "generates its own held-out rows"),
        ({"path": "x", "held_out_fraction": 1}, "less than 1"),
        ({"path": "x", "encoding": "latin-99"}, "'latin-99' is not an encoding"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make(**settings)
    assert message in str(caught.value)


def test_the_resolved_settings_read_back() -> None:
    config = make(sources=[{"path": "x", "weight": 0.5}, {"kind": "icd10"}], num_eval=0)
    assert DataConfig.model_validate_json(config.model_dump_json()) == config


def test_generated_kinds_are_registered() -> None:
    assert set(GENERATED_KINDS) <= set(SCHEMAS)
