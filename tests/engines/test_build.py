"""Engines by name: the rest of medray knows none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medray.config.distill import DistillJob
from medray.config.generate import GenerateJob
from medray.config.grpo import GrpoJob
from medray.config.rollout import EngineConfig
from medray.config.serve import ServedModel
from medray.engines.base import RolloutEngine
from medray.engines.build import engine_kind
from medray.engines.kind import EngineKind, EngineStart
from medray.errors import ConfigError
from medray.runs.plugins import build_plugins

HERE = __name__
ROOT = Path(__file__).parents[2]


class Bare(EngineKind):
    """Samples, and nothing else."""

    def __init__(self, speed: int = 1) -> None:
        self.speed = speed

    def rollout(self, start: EngineStart) -> RolloutEngine:
        raise NotImplementedError


class Silent(EngineKind):
    """Cannot even sample."""


class NotAnEngine:
    pass


def config(name: str, **options: Any) -> EngineConfig:
    return EngineConfig(kind=f"{HERE}:{name}", options=options)


def test_vllm_does_everything_and_is_imported_by_no_name() -> None:
    kind = engine_kind(EngineConfig(), "rollout", "batch", "teacher", "sender")
    assert kind.plays_dialogues
    code = (
        "import sys; from medray.config.rollout import EngineConfig; from medray.engines.build import engine_kind;"
        "engine_kind(EngineConfig(), 'rollout'); sys.exit('vllm' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_options_reach_the_class() -> None:
    kind = engine_kind(config("Bare", speed=3))
    assert isinstance(kind, Bare)
    assert kind.speed == 3


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (EngineConfig(kind="vlm"), r"rollout\.engine\.kind=vlm is unknown: did you mean vllm\?"),
        (config("Absent"), "has no Absent"),
        (config("Bare", sped=3), r"rollout\.engine\.options\.sped is not .* did you mean speed\?"),
        (config("NotAnEngine"), r"derive the class from medray\.engines\.kind\.EngineKind"),
        (config("Silent"), r"lacks rollout\(\)"),
    ],
)
def test_a_mistake_is_found_before_anything_starts(engine: EngineConfig, words: str) -> None:
    job = GrpoJob.model_validate({"rollout": {"engine": engine.model_dump()}})
    with pytest.raises(ConfigError, match=words):
        build_plugins(job)


def test_what_a_job_needs_of_its_engine_is_checked() -> None:
    engine = {"kind": f"{HERE}:Bare"}
    build_plugins(GrpoJob.model_validate({"rollout": {"engine": engine}}))
    with pytest.raises(ConfigError, match=r"lacks sender\(\)"):
        build_plugins(
            GrpoJob.model_validate({
                "rollout": {"engine": engine}, "sync": {"backend": "nccl"}, "model": {"device": "cuda"},
                "workers": {"learner": {"gpus": 1}, "rollout": {"gpus": 1}},
            })
        )  # fmt: skip
    with pytest.raises(ConfigError, match="plays no dialogues"):
        build_plugins(GrpoJob.model_validate({"rollout": {"engine": engine, "environment": {}}}))
    distill = {"teacher": {"path": "smollm2-135m"}, "engine": "vllm"}
    with pytest.raises(ConfigError, match=r"lacks teacher\(\)"):
        build_plugins(
            DistillJob.model_validate({"rollout": {"engine": engine}, "algorithm": {"distill": distill}})
        )  # fmt: skip
    with pytest.raises(ConfigError, match=r"engine\.kind=.*lacks batch\(\)"):
        build_plugins(GenerateJob(input="a.jsonl", output="b.jsonl", engine=config("Bare")))


def test_serving_runs_on_vllm() -> None:
    with pytest.raises(ValueError, match="serving runs on vllm"):
        ServedModel(path="smollm2-135m", engine=config("Bare"))
