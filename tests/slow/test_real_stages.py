"""The real model on real files, in every stage that a file fits: every row counted, and the loss falls.

`pytest -s tests/slow/test_real_stages.py` prints a line of a table each.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from medray.config.supervised import SupervisedJob
from medray.runs.tokenise import tokenise_dataset
from medray.storage.metrics_file import read_metrics
from tests.support.supervised import supervised_job, train_here

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SIZES = {"rows_per_step": 4, "num_steps": 5, "shuffle": False}
PAIRED = ("rm", "dpo", "orpo", "kto")
CASES: dict[tuple[str, str], tuple[int, int]] = {
    ("medicalgpt/medical_sft_1K_format.jsonl", "sft"): (1000, 0),
    ("medicalgpt/sharegpt_zh_1K_format.jsonl", "sft"): (1000, 2),
    ("medicalgpt/glaive_toolcall_zh_demo.jsonl", "sft"): (300, 0),
    ("medicalgpt/grpo_sample.jsonl", "sft"): (32, 0),
    ("medicalgpt/rag_medical_corpus.txt", "sft"): (87, 0),
    ("medicalgpt/pretrain_en_article.txt", "pt"): (66, 0),
    ("medicalgpt/dpo_zh_500.jsonl", "sft"): (500, 0),
    **{("medicalgpt/dpo_zh_500.jsonl", method): (500, 0) for method in PAIRED},
    **{("medicalgpt/toolcall_dpo_zh_demo.jsonl", method): (11, 0) for method in PAIRED},
    ("medquad/medquad.jsonl", "pt"): (5469, 0),
    ("medquad/medquad.jsonl", "sft"): (5469, 0),
    ("ultramedical/examples.json", "sft"): (50, 0),
    ("zh_dialogue/internal_medicine_gb18030.csv", "sft"): (7644, 0),
}
"""(file, method) -> rows, and how many of them cannot be used."""


def job_of(method: str, model: Path, path: Path, out: Path, **changes: Any) -> SupervisedJob:
    data = {"path": str(path), "on_bad_row": "skip", "num_eval": 0} | changes.pop("data", {})
    if method != "pt":
        changes["chat"] = changes.get("chat", {}) | {"max_tokens": changes.pop("max_tokens", 1024)}
    lora = {"lora": {"rank": 8}} if method in ("dpo", "kto") else {}
    return supervised_job(
        method,
        model,
        out,
        model={"path": str(model)} | lora,
        data=data,
        batch=SIZES,
        optim={"lr": 5e-4 if lora else 5e-5, "schedule": "constant", "warmup_ratio": 0.0},
        evaluation={"num_rows": 0},
        checkpoint={"every": 100},
        **changes,
    )


@pytest.mark.parametrize(("name", "method"), CASES)
def test_the_file_trains_the_stage(
    name: str, method: str, smollm2: Path, medray_data: Path, tmp_path: Path
) -> None:
    num_rows, num_bad = CASES[name, method]
    whole = tokenise_dataset(method, job_of(method, smollm2, medray_data / name, tmp_path))
    assert f"{num_rows} rows, {num_rows - num_bad} train, 0 held out, 0 unused" in whole.summary
    dropped = sum(int(n) for n in re.findall(r"dropped (\d+) \(", whole.summary))
    assert num_bad <= dropped
    if method != "pt":  # long documents become several blocks
        assert len(whole.train) == num_rows - dropped
    lengths = {"block_tokens": 96} if method == "pt" else {"max_tokens": 512}
    # So few that every step has the same ones; KTO needs two whose prompts differ.
    num_train = {"pt": 1, "kto": 8}.get(method, 4)
    job = job_of(
        method, smollm2, medray_data / name, tmp_path, data={"num_train": num_train}, **lengths
    )
    train_here(method, job)
    losses = [r.metrics["loss/total"] for r in read_metrics(job.out) if r.kind == "train"]
    print(f"\n| {name} | {method} | {losses[0]:.3f} | {losses[-1]:.3f} | {whole.summary} |")
    assert losses[-1] < losses[0] - 0.01
