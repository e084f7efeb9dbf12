"""What vLLM is asked for on GPUs, as far as its own checks go without one."""

from __future__ import annotations

import pytest

from medray.config.model import ModelConfig
from medray.config.rollout import EngineConfig
from medray.engines.vllm.engine import _engine_args


@pytest.mark.parametrize(("gpus", "executor"), [(1, None), (4, "mp")])
def test_the_gpus_of_one_actor_hold_a_split_engine(
    tiny_model, gpus: int, executor: str | None
) -> None:
    model = ModelConfig(path=str(tiny_model), device="cuda", dtype="bfloat16")
    arguments = _engine_args(model, EngineConfig(tensor_parallel=gpus), 256, 0, "nccl")
    assert arguments.tensor_parallel_size == gpus
    assert arguments.distributed_executor_backend == executor
