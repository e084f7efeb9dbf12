"""TRL's SFTTrainer, DPOTrainer or RewardTrainer on rows that are tokenised; prints times, losses and peak memory."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.clock import step_clock
from medray.models.fetching.fetch import resolve_model

trl: Any = import_module("trl")


def main(stage: str, table: str, num_steps: int, micro_batch: int) -> None:
    """Train `num_steps` steps, each on all rows of `table`."""
    from datasets import Dataset

    rows = json.loads(Path(table).read_text(encoding="utf-8"))
    clock = step_clock()
    with tempfile.TemporaryDirectory() as out:
        common = {
            "output_dir": out, "max_steps": num_steps, "per_device_train_batch_size": micro_batch,
            "gradient_accumulation_steps": len(rows) // micro_batch, "learning_rate": 1e-5,
            "lr_scheduler_type": "constant", "report_to": [], "save_strategy": "no", "logging_steps": 1,
            "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True,
            "model_init_kwargs": {"dtype": "float32"},
        }  # fmt: skip
        make = {"sft": _sft, "dpo": _dpo, "rm": _reward}[stage]
        trainer = make(str(resolve_model("smollm2-135m")), rows, common, clock, Dataset)
        trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"step_s": clock.seconds(), "loss": losses, "peak_gib": peak}))


def _sft(model: str, rows: list[Any], common: dict[str, Any], clock: Any, dataset: Any) -> Any:
    data = []
    for row in rows:
        [one] = row["continuations"]
        labels = [t if on else -100 for t, on in zip(one["token_ids"], one["trained"], strict=True)]
        data.append(
            {
                "input_ids": row["prompt"] + one["token_ids"],
                "labels": [-100] * len(row["prompt"]) + labels,
            }
        )
    return trl.SFTTrainer(
        model, trl.SFTConfig(**common), train_dataset=dataset.from_list(data), callbacks=[clock]
    )


def _dpo(model: str, rows: list[Any], common: dict[str, Any], clock: Any, dataset: Any) -> Any:
    class Tokenised(trl.DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    data = [
        {
            "prompt_ids": row["prompt"],
            "chosen_ids": row["continuations"][0]["token_ids"],
            "rejected_ids": row["continuations"][1]["token_ids"],
        }
        for row in rows
    ]
    return Tokenised(
        model,
        args=trl.DPOConfig(**common),
        train_dataset=dataset.from_list(data),
        callbacks=[clock],
    )


def _reward(model: str, rows: list[Any], common: dict[str, Any], clock: Any, dataset: Any) -> Any:
    data = [
        {
            "chosen_ids": row["prompt"] + row["continuations"][0]["token_ids"],
            "rejected_ids": row["prompt"] + row["continuations"][1]["token_ids"],
        }
        for row in rows
    ]
    return trl.RewardTrainer(
        model,
        args=trl.RewardConfig(**common),
        train_dataset=dataset.from_list(data),
        callbacks=[clock],
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
