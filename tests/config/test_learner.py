"""Strategies that cannot hold a model are refused before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from medray.config.grpo import GrpoJob
from medray.config.learner import LearnerConfig
from medray.config.resources import rl_roles
from medray.config.sft import SftJob

QUANTISED = {"quantisation": "4bit", "lora": {}}
REFUSED: list[tuple[type[Any], dict[str, Any], str]] = [
    (GrpoJob, {"learner": {"strategy": "single"}, "workers": {"learner": {"count": 2}}}, "workers.learner.count=2"),
    (SftJob, {"learner": {"strategy": "single"}, "workers": {"learner": {"count": 2}}}, "workers.learner.count=2"),
    (SftJob, {"learner": {"offload_optimizer": True}}, "set learner.strategy=zero2 instead of auto"),
    (SftJob, {"learner": {"strategy": "zero3"}, "model": QUANTISED}, "set learner.strategy=zero2 or"),
    (GrpoJob, {"learner": {"strategy": "fsdp2"}, "model": QUANTISED}, "cannot shard quantised weights"),
    (
        GrpoJob,
        {
            "learner": {"strategy": "fsdp2"}, "sync": {"backend": "nccl"},
            "model": {"device": "cuda"}, "workers": {"learner": {"gpus": 1}},
        },
        "set sync.backend=object_store",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("job", "settings", "message"), REFUSED)
def test_a_strategy_that_does_not_fit_is_refused(
    job: type[Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        job.model_validate(settings)


@pytest.mark.parametrize("strategy", ["ddp", "zero1", "zero2"])
def test_a_quantised_base_trains_under_strategies_that_leave_weights_whole(strategy: str) -> None:
    job = SftJob.model_validate({"learner": {"strategy": strategy}, "model": QUANTISED})
    assert not job.learner.shards_weights


def test_auto_is_one_process_or_data_parallel() -> None:
    assert [LearnerConfig().resolved(n) for n in (1, 2)] == ["single", "ddp"]
    assert LearnerConfig(strategy="zero3").resolved(1) == "zero3"


@pytest.mark.parametrize(
    ("strategy", "separate"), [("auto", False), ("zero2", False), ("fsdp2", True)]
)
def test_an_adapters_base_serves_as_reference_only_where_a_rank_holds_it_whole(
    strategy: str, separate: bool
) -> None:
    job = GrpoJob.model_validate(
        {
            "learner": {"strategy": strategy},
            "model": {"lora": {}},
            "algorithm": {"kl": {"coef": 0.1}},
        }
    )
    assert ("reference" in [role.name for role in rl_roles(job)]) is separate
