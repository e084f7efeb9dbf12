"""A run of an adapter on a quantised base whose rollouts are dialogues: real Ray, real vLLM, a tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medray.storage.rollout_files import read_rollouts
from medray.storage.run_folder import checkpoints
from tests.support.jobs import run_job, tiny_settings
from tests.support.running import train_rows

pytestmark = pytest.mark.ray

STOPS = [chr(c) for c in range(ord("a"), ord("z") + 1)]  # a random model seldom stops by itself


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of three steps."""
    settings: dict[str, Any] = tiny_settings(
        tiny_model,
        tmp_path_factory.mktemp("dialogue"),
        num_steps=3,
        optim={"lr": 1e-2},
        algorithm={"kl": {"coef": 0.1, "place": "reward"}},
    )
    settings["model"] |= {"lora": {"rank": 4}, "quantisation": "4bit"}
    settings["rollout"] |= {
        "temperature": 0.8,
        "max_new_tokens": 160,
        "stop": STOPS,
        "environment": {"kind": "self_check", "max_turns": 3, "options": {"text": "Sure?"}},
    }
    code, output = run_job(settings)
    assert code == 0, output
    return Path(settings["out"])


def test_dialogues_are_sampled_graded_and_trained(run: Path) -> None:
    """Only this trains on dialogues of several turns from a real engine."""
    rows = read_rollouts(run).to_pylist()
    dialogues = [row for row in rows if row["dialogue"]]
    assert dialogues, "no response had a second turn"
    for row in dialogues:
        assert row["dialogue"][1] == {"role": "user", "content": "Sure?"}
        assert row["dialogue"][-1] == {"role": "assistant", "content": row["response"]}
        assert len(row["sampled"]) == len(row["token_ids"]) == len(row["logprobs"])
    assert any(len(row["dialogue"]) == 5 for row in dialogues)
    for step in train_rows(run):
        of_step = [row for row in rows if row["step"] == step.step]
        sampled = sum(sum(r["sampled"] or [True] * len(r["token_ids"])) for r in of_step)
        assert step.metrics["rollout/tokens"] == pytest.approx(sampled)
        assert step.metrics["policy/max_logprob_gap"] < 1e-3
        assert step.metrics["policy/kl_ref"] > -1e-5, "no estimate of what the environment wrote"


def test_an_adapter_takes_its_quantised_base_as_the_reference(run: Path) -> None:
    """Only this trains an adapter on 4 bits with its base as the reference, and syncs it to a real engine."""
    from transformers import AutoModelForCausalLM

    steps = [row.metrics for row in train_rows(run)]
    assert abs(steps[0]["policy/kl_ref"]) < 1e-5, "an adapter begins as its base"
    assert steps[-1]["policy/kl_ref"] > 1e-4
    assert max(m["sync/max_logprob_gap"] for m in steps) < 1e-3
    last = checkpoints(run)[-1]
    assert (last / "adapter_model.safetensors").is_file()
    assert AutoModelForCausalLM.from_pretrained(last).config.vocab_size == 320
