"""Curricula that cannot work are refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from medray.config.curriculum import CurriculumConfig
from medray.config.grpo import GrpoJob
from medray.config.ppo import PpoJob


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"measure": 2, "low": 0.6, "high": 0.4}, "low=0.6 is above high=0.4"),
        ({"low": 0.1}, "set curriculum.measure"),
        ({"high": 0.9}, "set curriculum.measure"),
        ({"floor": 0}, "set curriculum.floor above 0"),
        ({"momentum": 1.0}, "less than 1"),
    ],
)
def test_it_is_refused(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        CurriculumConfig(**keys)


def test_every_rl_job_takes_one_and_has_none_by_default() -> None:
    for job in (GrpoJob, PpoJob):
        assert job().curriculum is None
        assert job.model_validate({"curriculum": {}}).curriculum == CurriculumConfig()
