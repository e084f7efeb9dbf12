"""The other side of a dialogue: what it says, and what a wrong setting prints."""

from __future__ import annotations

from typing import Any

import pytest

from medray.config.environment import EnvironmentConfig
from medray.environments.registry import build_environment
from medray.errors import ConfigError, DataError
from medray.types import Record

CASE = Record(
    "case-1",
    ({"role": "user", "content": "I feel unwell."},),
    extra={"findings": {"fever|temperature": "39 degrees since Monday.", "cough": "A dry one."}},
)


def _build(kind: str, **options: Any) -> Any:
    return build_environment(EnvironmentConfig(kind=kind, options=options))


def test_the_patient_tells_what_is_asked_for() -> None:
    patient = _build("interview")
    assert patient.reply(CASE, ["Any Fever or cough?"]) == "39 degrees since Monday. A dry one."
    assert patient.reply(CASE, ["What is your temperature?"]) == "39 degrees since Monday."
    assert patient.reply(CASE, ["Do you smoke?"]) == "I could not say."
    assert patient.reply(CASE, ["Cough?", "Diagnosis: influenza, given the cough"]) is None


def test_a_case_without_findings_is_named() -> None:
    with pytest.raises(DataError, match=r"record case-2: extra\.findings is missing"):
        _build("interview").reply(Record("case-2", ()), ["Fever?"])


def test_the_self_check_asks_in_the_records_language() -> None:
    look = _build("self_check")
    assert look.reply(Record("a", ()), ["B"]).startswith("Check your answer")
    assert look.reply(Record("a", (), lang="zh"), ["B"]).startswith("请")
    assert _build("self_check", text="Sure?").reply(CASE, ["B"]) == "Sure?"


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("intervew", {}, "did you mean interview"),
        ("interview", {"not_known": "?"}, "rollout.environment.options.not_known"),
        ("medray.types:Record", {"id": "a", "messages": ()}, "has no reply"),
    ],
)
def test_what_cannot_be_made_is_named(kind: str, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        _build(kind, **options)
