"""TRL's GRPOTrainer on one workload; prints one JSON line with the seconds of each step and the peak memory.

Run by grpo_vs_trl.py in a process of its own. It samples with transformers' generate: TRL drives vLLM on GPUs only.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from importlib import import_module
from typing import Any

from benchmarks.clock import step_clock
from benchmarks.workloads import WORKLOADS
from medray.config.data import DataConfig
from medray.config.reward import RewardConfig
from medray.data.loading.load import load_dataset
from medray.models.fetching.fetch import resolve_model
from medray.rewards.mixture import build_rewards
from medray.types import Prompt, Record, Response, RolloutGroup


def main(name: str, num_steps: int, micro_batch: int, checkpointing: bool) -> None:
    """Train `num_steps` steps and print their times."""
    import numpy as np
    from datasets import Dataset

    trl: Any = import_module("trl")

    workload = WORKLOADS[name]()
    records = load_dataset(DataConfig(**workload.data)).train
    by_key = {r.messages[-1]["content"]: r for r in records}
    rewards = build_rewards([RewardConfig()])
    per_step = workload.num_prompts * workload.num_samples

    def grade(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
        return [
            _score(rewards, by_key[p[-1]["content"]], c[0]["content"], np)
            for p, c in zip(prompts, completions, strict=True)
        ]

    clock = step_clock()
    with tempfile.TemporaryDirectory() as out:
        settings = trl.GRPOConfig(
            output_dir=out, max_steps=num_steps, per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=per_step // micro_batch, num_generations=workload.num_samples,
            max_completion_length=workload.max_new_tokens, temperature=1.0, learning_rate=1e-6, beta=0.0,
            scale_rewards="none", loss_type="dapo", report_to=[], save_strategy="no", logging_steps=10**6,
            use_cpu=True, bf16=False, gradient_checkpointing=checkpointing, disable_tqdm=True,
            model_init_kwargs={"dtype": "float32"},
        )  # fmt: skip
        trainer = trl.GRPOTrainer(
            model=str(resolve_model("smollm2-135m")), reward_funcs=grade, args=settings, callbacks=[clock],
            train_dataset=Dataset.from_list([{"prompt": list(r.messages)} for r in records]),
        )  # fmt: skip
        trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"step_s": clock.seconds(), "peak_gib": peak}))


def _score(rewards: Any, record: Record, text: str, np: Any) -> float:
    response = Response(np.zeros(1, np.int32), np.zeros(1, np.float32), text, "stop")
    group = RolloutGroup(Prompt(record, np.zeros(1, np.int32)), (response,), 0)
    return rewards.score(group).rewards[0]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "True")
