"""An engine starts from the run folder of an earlier stage: its checkpoint's weights, and nothing else of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medray.config.model import ModelConfig
from medray.config.rollout import EngineConfig
from medray.engines.vllm.engine import VllmEngine
from medray.learners.probe import make_probe
from medray.learners.scorer import Scorer
from medray.models.load import load_policy
from tests.support.supervised import supervised_job, train_here

pytestmark = pytest.mark.ray


def test_an_engine_starts_from_a_trained_run(tiny_model: Path, tmp_path: Path) -> None:
    job = supervised_job("sft", tiny_model, tmp_path)
    train_here("sft", job)
    config = ModelConfig(path=job.out)
    trained = make_probe(Scorer(load_policy(config, trainable=False)))
    base = make_probe(Scorer(load_policy(ModelConfig(path=str(tiny_model)), trainable=False)))
    engine = VllmEngine(config, EngineConfig(max_num_seqs=4), max_model_len=256)
    found, _ = engine._score_probe(trained)
    assert np.abs(found - trained.logp).max() < 1e-3
    assert np.abs(found - base.logp).max() > 0.01
