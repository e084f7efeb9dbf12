"""A run whose rollouts are dialogues: real Ray, real vLLM, a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from medray.storage.metrics_file import read_metrics
from medray.storage.rollout_files import read_rollouts
from tests.support.jobs import run_job, tiny_settings

pytestmark = pytest.mark.ray

STOPS = [chr(c) for c in range(ord("a"), ord("z") + 1)]  # a random model seldom stops by itself


def test_dialogues_are_sampled_graded_and_trained(tiny_model: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_model, tmp_path, algorithm={"kl": {"coef": 0.01}})
    settings["rollout"] |= {
        "max_new_tokens": 160,
        "stop": STOPS,
        "environment": {"kind": "self_check", "max_turns": 3, "options": {"text": "Sure?"}},
    }
    code, output = run_job(settings, "num_steps=2")
    assert code == 0, output
    rows = read_rollouts(Path(settings["out"])).to_pylist()
    dialogues = [row for row in rows if row["dialogue"]]
    assert dialogues, "no response had a second turn"
    for row in dialogues:
        assert row["dialogue"][1] == {"role": "user", "content": "Sure?"}
        assert row["dialogue"][-1] == {"role": "assistant", "content": row["response"]}
        assert len(row["sampled"]) == len(row["token_ids"]) == len(row["logprobs"])
    assert any(len(row["dialogue"]) == 5 for row in dialogues)
    for step in (row for row in read_metrics(settings["out"]) if row.kind == "train"):
        of_step = [row for row in rows if row["step"] == step.step]
        sampled = sum(sum(r["sampled"] or [True] * len(r["token_ids"])) for r in of_step)
        assert step.metrics["rollout/tokens"] == pytest.approx(sampled)
        assert step.metrics["policy/max_logprob_gap"] < 1e-3
        assert step.metrics["policy/kl_ref"] >= 0
