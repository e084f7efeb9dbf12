"""Defaults follow the device, and whatever is set stays."""

from __future__ import annotations

import pytest

from medray.config.device_defaults import ON_CUDA
from medray.config.grpo import GrpoJob
from medray.config.loader import dump_config, load_config
from medray.config.model import ModelConfig
from medray.config.ppo import PpoJob
from medray.config.rollout import EngineConfig, RolloutConfig
from medray.config.sft import SftJob

CUDA = ["model.device=cuda", "workers.learner.gpus=1"]
RL = [*CUDA, "workers.rollout.gpus=1", "algorithm.kl.coef=0"]


def _found(job: GrpoJob | PpoJob) -> list[object]:
    engine = job.rollout.engine
    return [
        job.model.dtype,
        job.model.gradient_checkpointing,
        job.learner.row_tokens,
        engine.max_num_seqs,
        engine.enforce_eager,
    ]


@pytest.mark.parametrize(("schema", "more"), [(GrpoJob, []), (PpoJob, ["workers.critic.gpus=1"])])
def test_a_gpu_has_defaults_of_its_own(schema: type[GrpoJob | PpoJob], more: list[str]) -> None:
    assert _found(load_config(schema, overrides=[*RL, *more])) == list(ON_CUDA.values())
    assert _found(load_config(schema)) == ["float32", False, 4096, 64, True]


def test_what_is_set_stays() -> None:
    chosen = ["model.dtype=float32", "rollout.engine.enforce_eager=true", "learner.row_tokens=512"]
    job = load_config(GrpoJob, overrides=[*RL, *chosen])
    assert _found(job) == ["float32", True, 512, 256, True]
    assert (
        load_config(
            GrpoJob, overrides=[*RL, "rollout.engine.enforce_eager=false"]
        ).rollout.engine.max_num_seqs
        == 256
    )


def test_a_job_that_was_written_is_read_back() -> None:
    job = load_config(GrpoJob, overrides=[*RL, "rollout.engine.max_num_seqs=8"])
    assert GrpoJob.model_validate_json(dump_config(job)) == job


def test_sections_built_in_python_are_as_they_were_built() -> None:
    job = GrpoJob.model_validate(
        {
            "model": ModelConfig(device="cuda"),
            "rollout": RolloutConfig(engine=EngineConfig(max_num_seqs=4)),
            "workers": {"learner": {"gpus": 1}, "rollout": {"gpus": 1}},
        }
    )
    assert _found(job) == ["float32", False, 16_384, 4, True]


def test_supervised_jobs_have_those_that_they_know() -> None:
    job = load_config(SftJob, overrides=CUDA)
    assert (job.model.dtype, job.model.gradient_checkpointing) == ("bfloat16", True)
    assert job.learner.row_tokens == 16_384
