"""`jobs/evaluate.py` on real vLLM: every figure of the table equals what is computed without medray's own paths."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from medray.actors.cluster.connect import connected
from medray.config.evaluate import EvaluateJob
from medray.config.loader import load_config
from medray.config.model import ModelConfig
from medray.data.loading.load import load_dataset
from medray.errors import ConfigError, DataError, ModelError, WeightSyncError
from medray.evaluation.models import Table, run_evaluate
from medray.models.load import load_policy
from medray.models.tokenizer import load_tokenizer
from tests.support.supervised import supervised_job, train_here
from tests.support.tiny import save_tiny_model

pytestmark = pytest.mark.ray

NUM = 6


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with connected():
        yield


def evaluation(out: Path, *models: tuple[str, str, str]) -> EvaluateJob:
    return EvaluateJob.model_validate(
        {
            "out": str(out),
            "models": [{"name": n, "path": p, "kind": k} for n, p, k in models],
            "questions": {"num_eval": NUM},
            "texts": {"num_eval": NUM},
            "pairs": {"num_eval": NUM},
            "workers": {"evaluator": {"cpus": 0.5}},
        }
    )


@pytest.fixture(scope="module")
def runs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An SFT run that trained an adapter, and a reward model."""
    folder = tmp_path_factory.mktemp("runs")
    settings: dict[str, Any] = {"path": str(tiny_model)}
    sft = supervised_job("sft", tiny_model, folder / "a", model=settings | {"lora": {"rank": 4}})
    train_here("sft", sft)
    rm = supervised_job("rm", tiny_model, folder / "b")
    train_here("rm", rm)
    return {"base": str(tiny_model), "sft": sft.out, "rm": rm.out}


@pytest.fixture(scope="module")
def evaluated(
    cluster: None, runs: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[EvaluateJob, Table]:
    job = evaluation(
        tmp_path_factory.mktemp("out"),
        ("base", runs["base"], "policy"),
        ("sft", runs["sft"], "policy"),
        ("rm", runs["rm"], "reward"),
    )
    return job, run_evaluate(job)


def whole_model(path: str) -> Any:
    """transformers' own model, adapters merged."""
    policy = load_policy(ModelConfig(path=path, attention="plain"), trainable=False)
    return policy.module


def test_perplexity_is_that_of_transformers(
    evaluated: tuple[EvaluateJob, Table], runs: dict[str, str]
) -> None:
    job, table = evaluated
    tokenizer = load_tokenizer(ModelConfig(path=runs["base"]))
    found = {}
    for name in ("base", "sft"):
        nll, count = 0.0, 0
        for record in load_dataset(job.texts, stage="pt").held_out:
            ids = torch.tensor([tokenizer(record.text)["input_ids"]])
            with torch.no_grad():
                logp = (
                    whole_model(runs[name])(input_ids=ids).logits[0, :-1].double().log_softmax(-1)
                )
            nll -= float(logp.gather(1, ids[0, 1:, None]).sum())
            count += ids.shape[1] - 1
        found[name] = table[name]["perplexity"]
        assert found[name].value == pytest.approx(math.exp(nll / count), rel=1e-4)
        assert found[name].low < found[name].value < found[name].high
    assert abs(found["base"].value - found["sft"].value) > 1, "the adapter is part of it"


def test_answers_are_greedy_and_graded(
    evaluated: tuple[EvaluateJob, Table], runs: dict[str, str]
) -> None:
    job, table = evaluated
    answers = [json.loads(line) for line in (Path(job.out) / "answers.jsonl").open()]
    assert [a["model"] for a in answers] == ["base"] * NUM + ["sft"] * NUM
    tokenizer = load_tokenizer(ModelConfig(path=runs["base"]))
    for name in ("base", "sft"):
        module = whole_model(runs[name])
        own = [a for a in answers if a["model"] == name]
        for column in ("form", "right"):
            assert table[name][column].value == sum(a[column] for a in own) / NUM
        for record, answer in zip(load_dataset(job.questions).held_out, own, strict=True):
            ids = tokenizer.apply_chat_template(
                list(record.messages), add_generation_prompt=True, return_tensors="pt", return_dict=False
            )  # fmt: skip
            new = module.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :]
            text = tokenizer.decode(new, skip_special_tokens=True)
            assert answer["answer"].rstrip("�") == text.rstrip("�"), "but for half a character"


def test_the_table_and_its_provenance_are_written(evaluated: tuple[EvaluateJob, Table]) -> None:
    job, table = evaluated
    out = Path(job.out)
    record = json.loads((out / "evaluation.json").read_text())
    assert record["table"]["rm"]["pairs"]["value"] == table["rm"]["pairs"].value
    assert record["data"]["questions"]["rows"] == NUM
    assert record["models"]["sft"].endswith("step_000004")
    lines = (out / "table.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| base", "| sft", "| rm"]
    assert lines[-1].startswith("| rm | - | - | - | ")


@pytest.mark.usefixtures("cluster")
def test_what_cannot_be_evaluated_is_one_line(runs: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        run_evaluate(evaluation(tmp_path, ("x", str(tmp_path / "nowhere"), "policy")))
    with pytest.raises(ConfigError, match="two entries of models are named x"):
        load_config(EvaluateJob, None, ["models=[{name: x, path: a}, {name: x, path: b}]"])
    long = evaluation(tmp_path, ("rm", runs["rm"], "reward"))
    chat = long.chat.model_copy(update={"max_tokens": 20})
    with pytest.raises(
        DataError, match=r"pairs: a held-out row is too long: .* chat\.max_tokens=20"
    ):
        run_evaluate(long.model_copy(update={"chat": chat}))
    other = save_tiny_model(tmp_path / "other", tied=False)
    with pytest.raises(WeightSyncError) as caught:
        run_evaluate(
            evaluation(tmp_path, ("a", runs["base"], "policy"), ("b", str(other), "policy"))
        )
    assert "\n" not in str(caught.value)
