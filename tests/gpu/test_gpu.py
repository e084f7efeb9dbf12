"""What the first owner of a GPU runs: `make test-gpu`. Each test says by name what it needs and skips without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medray.storage.run_folder import checkpoints
from tests.support.jobs import run_job, tiny_settings
from tests.support.running import train_rows

pytestmark = pytest.mark.gpu
STEPS = 2


def _needs_gpus(count: int) -> None:
    import torch

    if torch.cuda.device_count() < count:
        pytest.skip(f"needs {count} CUDA device(s), this machine has {torch.cuda.device_count()}")


def _gpu_settings(model: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    workers = {
        "learner": {"cpus": 1, "gpus": 1},
        "rollout": {"cpus": 1, "gpus": 1},
        "reference": {"cpus": 1, "gpus": 1},
        "grader": {"cpus": 0},
    }
    settings = tiny_settings(model, folder, workers=workers, num_steps=STEPS)
    settings["model"] |= {"device": "cuda", "dtype": "bfloat16"}
    settings["rollout"]["engine"] = {"gpu_memory_utilization": 0.3, "max_num_seqs": 16}
    return settings | changes


def _runs(settings: dict[str, Any], *overrides: str) -> list[dict[str, float]]:
    code, output = run_job(settings, *overrides, timeout_s=900)
    assert code == 0, output
    assert checkpoints(Path(settings["out"]))
    steps = [row.metrics for row in train_rows(settings["out"])]
    assert all(m["sync/max_logprob_gap"] < 0.15 for m in steps)
    return steps


@pytest.mark.parametrize("backend", ["object_store", "nccl"])
def test_learner_and_engine_on_two_gpus(tiny_model: Path, tmp_path: Path, backend: str) -> None:
    _needs_gpus(2)
    assert len(_runs(_gpu_settings(tiny_model, tmp_path), f"sync.backend={backend}")) == STEPS


@pytest.mark.parametrize("backend", ["object_store", "ipc"])
def test_learner_and_engine_take_turns_on_one_gpu(
    tiny_model: Path, tmp_path: Path, backend: str
) -> None:
    _needs_gpus(1)
    settings = _gpu_settings(tiny_model, tmp_path)
    settings["workers"] |= {"colocate": True, "learner": {"gpus": 0.5}, "rollout": {"gpus": 0.5}}
    assert len(_runs(settings, f"sync.backend={backend}")) == STEPS


def test_two_ranks_over_nccl(tiny_model: Path, tmp_path: Path) -> None:
    _needs_gpus(3)
    settings = _gpu_settings(tiny_model, tmp_path)
    settings["workers"]["learner"]["count"] = 2
    assert len(_runs(settings)) == STEPS


def test_engine_over_two_gpus(tiny_model: Path, tmp_path: Path) -> None:
    _needs_gpus(3)
    settings = _gpu_settings(tiny_model, tmp_path)
    settings["workers"]["rollout"]["gpus"] = 2
    settings["rollout"]["engine"]["tensor_parallel"] = 2
    assert len(_runs(settings, "sync.backend=nccl")) == STEPS


@pytest.mark.parametrize("attention", ["tree", "flex"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shared_prefix_equals_plain_on_a_gpu(tiny_model: Path, dtype: str, attention: str) -> None:
    _needs_gpus(1)
    import numpy as np
    import torch

    from medray.config.model import ModelConfig
    from medray.data.batches.packing import build_row
    from medray.learners.scorer import Scorer
    from medray.models.load import load_policy
    from tests.support.trees import random_tree, unshare

    settings = {"path": str(tiny_model), "device": "cuda", "dtype": dtype, "attention": attention}
    scorer = Scorer(load_policy(ModelConfig.model_validate(settings)))
    tree = random_tree(np.random.default_rng(0), 40, [7, 19, 3])
    shared = scorer.token_logp(build_row([tree]))
    plain = torch.cat([scorer.token_logp(build_row([t])) for t in unshare([tree])])
    torch.testing.assert_close(shared, plain, rtol=1e-4, atol=1e-4 if dtype == "float32" else 0.1)


@pytest.mark.parametrize("quantisation", ["8bit", "4bit"])
def test_quantised_base_trains_adapters(
    tiny_model: Path, tmp_path: Path, quantisation: str
) -> None:
    _needs_gpus(2)
    settings = _gpu_settings(tiny_model, tmp_path)
    settings["model"] |= {"quantisation": quantisation, "lora": {"rank": 4}}
    assert len(_runs(settings)) == STEPS
