"""Every example of docs/EXTENDING.md, in a folder outside the repository, gives the right numbers and trains."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from medray.config import parts
from medray.config.grpo import GrpoJob
from medray.config.learner import LearnerConfig
from medray.data.loading.load import load_dataset
from medray.engines.build import engine_kind
from medray.engines.kind import EngineStart
from medray.environments.registry import build_environment
from medray.learners.objectives.base import RowTensors
from medray.learners.objectives.corrections import correction_weight
from medray.learners.objectives.token_losses import token_loss
from medray.learners.probe import make_probe
from medray.learners.schedule import learning_rate
from medray.learners.scorer import Scorer
from medray.losses.kl import kl_estimator
from medray.models.checkpoints.export import delivered_weights
from medray.models.load import load_policy
from medray.rewards.mixture import build_rewards
from medray.storage.metrics_file import read_metrics
from medray.storage.rollout_files import read_rollouts
from medray.training.advantages import Graded, estimator_of
from medray.types import GenerateSpec, SamplingContract, TensorInfo, WeightManifest
from tests.rewards.helpers import group, prompt
from tests.support.command import ROOT, medray_here
from tests.support.jobs import tiny_settings

PAGE = (ROOT / "docs" / "EXTENDING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(python|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTIONS = {part.partition("\n")[0]: dict(BLOCK.findall(part)) for part in PAGE.split("\n## ")[1:]}
EXAMPLES = [name for name, blocks in SECTIONS.items() if blocks]
LOG_2 = float(np.log(2))


def file_name(code: str) -> str:
    """The file that the first line of an example names."""
    [name] = re.findall(r"\A# (\w+\.py)\n", code)
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All examples of the page as modules of one folder, and cards to read; importable as a command makes it."""
    folder = tmp_path_factory.mktemp("mine")
    names = [file_name(blocks["python"]) for blocks in map(SECTIONS.get, EXAMPLES) if blocks]
    for name, section in zip(names, EXAMPLES, strict=True):
        (folder / name).write_text(SECTIONS[section]["python"], encoding="utf-8")
    assert len(set(names)) == len(EXAMPLES)
    cards = [{"front": f"What is {i} + 1?", "back": str(i + 1)} for i in range(16)]
    (folder / "cards.jsonl").write_text("".join(json.dumps(card) + "\n" for card in cards))
    before = Path.cwd()
    os.chdir(folder)
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))
    os.chdir(before)
    for name in names:
        sys.modules.pop(name.removesuffix(".py"), None)


def job_of(section: str, base: Mapping[str, Any] | None = None) -> GrpoJob:
    return GrpoJob.model_validate({**(base or {}), **yaml.safe_load(SECTIONS[section]["yaml"])})


def row(*advantages: float) -> RowTensors:
    index = torch.zeros(len(advantages), dtype=torch.long)
    columns = {"advantage": torch.tensor(advantages)}
    return RowTensors(index, torch.tensor([len(advantages)]), columns)


def merged(*settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings laid over each other; lists are joined."""
    found: dict[str, Any] = {}
    for one in settings:
        for key, value in one.items():
            old = found.get(key)
            if isinstance(value, Mapping):
                found[key] = merged(old if isinstance(old, dict) else {}, value)
            else:
                found[key] = [*old, *value] if isinstance(old, list) else value
    return found


def test_every_part_has_an_example_and_its_signature() -> None:
    assert len(EXAMPLES) == 11
    assert PAGE.count("\n```python\n") == PAGE.count("\n```yaml\n") == len(EXAMPLES)
    rows = dict(re.findall(r"^\| ([\w ]+?) +\| .*? \| (.*?) \|", PAGE, re.MULTILINE))
    doors = {value for value in vars(parts).values() if isinstance(value, parts.Door)}
    assert len(doors) == 6
    for door in doors:
        called = f"`({', '.join(door.parameters)})`"
        said = [name for name in rows if door.what.endswith(name) and rows[name] == called]
        assert said or rows["advantage"] == called, f"{door.what} is called as {called}"


def test_an_algorithm_takes_as_few_lines_as_the_page_says() -> None:
    code = SECTIONS["An algorithm with a new loss"]["python"]
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith("#")]
    said = re.search(r"A new algorithm with a new loss takes (\d+) lines", PAGE)
    assert said is not None
    assert len(lines) == int(said[1]) <= 15


@pytest.mark.parametrize("section", EXAMPLES)
def test_the_settings_of_an_example_are_accepted(section: str, folder: Path) -> None:
    (folder / "grpo_mine.yaml").write_text(SECTIONS[section]["yaml"])
    outcome = medray_here("check-config", "grpo", "grpo_mine.yaml")
    assert outcome.code == 0, outcome.stderr
    module = file_name(SECTIONS[section]["python"]).removesuffix(".py")
    assert f"{module}:" in outcome.stdout


@pytest.mark.usefixtures("folder")
def test_the_algorithm_reads_its_own_key() -> None:
    job = job_of("An algorithm with a new loss")
    logp = torch.tensor([LOG_2, 0.0], requires_grad=True)
    loss, figures = token_loss(job.algorithm.loss)(
        logp, torch.zeros(2), row(3.0, -1.0), job.algorithm
    )
    # Steepness 2 at ratios 2 and 1: 4 / 2 * sigmoid(2) and 4 / 2 * sigmoid(0).
    assert loss.tolist() == pytest.approx([-3 * 1.7615942, 1.0])
    assert figures["ratio"].tolist() == pytest.approx([2.0, 1.0])
    [gradient] = torch.autograd.grad(loss[1], logp)
    assert gradient.tolist() == pytest.approx([0.0, 1.0]), "on-policy it is REINFORCE's: -A"


@pytest.mark.usefixtures("folder")
def test_the_loss() -> None:
    job = job_of("A token loss")
    logp = torch.tensor([-1.0, -1.0], requires_grad=True)
    anchor = torch.tensor([-1.0 - LOG_2, -1.0])
    loss, figures = token_loss(job.algorithm.loss)(logp, anchor, row(2.0, -1.0), job.algorithm)
    assert loss.tolist() == pytest.approx([1.5 * 2.0, -1.0])
    assert figures["truncated_share"].tolist() == [1.0, 0.0]
    [gradient] = torch.autograd.grad(loss.sum(), logp)
    assert gradient.tolist() == pytest.approx([-1.5 * 2.0, 1.0]), "the weight has no gradient"


@pytest.mark.usefixtures("folder")
def test_the_advantage() -> None:
    config = job_of("An advantage").algorithm
    graded = Graded([[0.0, 1.0, 5.0], [2.0, 4.0]], [[1, 1, 1], [1, 1]])
    found = estimator_of(config).compute(graded, config)
    assert [a.tolist() for a in found] == [[-1.0, 0.0, 4.0], [-1.0, 1.0]]


@pytest.mark.usefixtures("folder")
def test_the_correction() -> None:
    config = job_of("A correction").algorithm.correction
    assert config is not None
    weight = correction_weight(config)(
        torch.tensor([-1.0, -1.0]), torch.tensor([-1.4, -1.6]), row(0, 0)
    )
    assert weight.tolist() == [1.0, 0.0]


@pytest.mark.usefixtures("folder")
def test_the_kl_estimator() -> None:
    estimate = kl_estimator(job_of("A KL estimator").algorithm.kl.estimator)
    p, q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.2, 0.6]).double()
    expected = (p * (p / q).log()).sum() + (q * (q / p).log()).sum()
    assert float((p * estimate(p.log(), q.log())).sum()) == pytest.approx(float(expected))
    assert float(estimate(torch.tensor(LOG_2), torch.tensor(0.0))) == pytest.approx(LOG_2 / 2)


@pytest.mark.usefixtures("folder")
def test_the_schedule() -> None:
    optim = job_of("A schedule", {"optim": {"lr": 1.0}}).optim.model_copy(update={"lr": 2.0})
    rates = [learning_rate(optim, step, 4) for step in range(4)]
    assert rates == pytest.approx([2.0, 2 * 0.75**2, 2 * 0.5**2, 2 * 0.25**2])


@pytest.mark.usefixtures("folder")
def test_the_reward_function() -> None:
    scored = build_rewards(job_of("A reward function").rewards).score(
        group(prompt("x"), "one two", "1 2 3 4 5 6", " ".join("abcdefghij"))
    )
    assert scored.rewards == pytest.approx((0.0, 0.5 * -0.5, 0.5 * -1.0))


@pytest.mark.usefixtures("folder")
def test_the_reward_class() -> None:
    rewards = build_rewards(job_of("A reward class").rewards)
    scored = rewards.score(group(prompt("x"), "cat", "pear", "up"))
    assert scored.rewards == (0.5, 1.0, 0.0)
    assert scored.parts == {
        "Mentions/score": (0.5, 1.0, 0.0), "Mentions/any": (1.0, 1.0, 0.0), "Mentions/all": (0.0, 1.0, 0.0),
    }  # fmt: skip


@pytest.mark.usefixtures("folder")
def test_the_environment() -> None:
    config = job_of("An environment").rollout.environment
    assert config is not None
    tutor = build_environment(config)
    record = prompt("42").record
    assert tutor.reply(record, ["7"]) == "Look again."
    assert tutor.reply(record, ["7", "It is 42."]) is None


@pytest.mark.usefixtures("folder")
def test_the_schema() -> None:
    dataset = load_dataset(job_of("A data schema").data)
    assert (len(dataset.train), len(dataset.held_out)) == (14, 2)
    records = {record.id: record for record in (*dataset.train, *dataset.held_out)}
    record = records["cards.jsonl:4"]
    assert record.messages == ({"role": "user", "content": "What is 3 + 1?"},)
    assert record.answer == "4"


@pytest.mark.usefixtures("folder")
def test_the_engine(tiny_model: Path) -> None:
    job = job_of("An engine", {"model": {"path": str(tiny_model)}})
    policy = load_policy(job.model)
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.mul_(1.05)
    infos = {name: TensorInfo.of(t) for name, t in delivered_weights(policy)}
    manifest = WeightManifest(1, infos, make_probe(Scorer(policy, config=LearnerConfig())))
    engine = engine_kind(job.rollout.engine).rollout(
        EngineStart(job.model, job.rollout.engine, 256)
    )
    arrays = [(name, t.detach().numpy()) for name, t in delivered_weights(policy)]
    assert engine.load_weights(manifest, arrays, tolerance=1e-3) < 1e-4
    [done] = engine.generate([prompt("x")], [3], GenerateSpec(SamplingContract(), 2, 8))
    assert len(done.responses) == 2
    assert done.oldest_version == 1


@pytest.mark.ray
def test_a_job_trains_with_all_of_them(folder: Path, tiny_model: Path) -> None:
    """One run in the folder: algorithm, loss, advantage, correction, schedule, rewards, environment, schema, engine.

    Only this shows that drivers, learners, graders and rollout workers import the user's modules.
    """
    used = [name for name in EXAMPLES if name not in ("A token loss", "A KL estimator")]
    mine = merged(*(yaml.safe_load(SECTIONS[name]["yaml"]) for name in used))
    mine["algorithm"]["kind"] = "soft_gate:SoftGate"
    settings = tiny_settings(tiny_model, folder)
    del settings["rewards"], settings["data"]
    mine["rewards"][0]["options"]["max_words"] = 1  # of which a random model writes few
    stop = list("ABCDEFGHIJ")  # it seldom stops by itself
    rollout = {"prompts_per_step": 3, "max_new_tokens": 160, "stop": stop}
    settings = merged(settings, mine, {"rollout": rollout, "optim": {"lr": 1e-3}})
    (folder / "mine.yaml").write_text(json.dumps(settings))
    ran = subprocess.run(
        [sys.executable, str(ROOT / "jobs/grpo.py"), "--config", "mine.yaml"], cwd=folder, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=280,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    out = Path(settings["out"])
    steps = [one.metrics for one in read_metrics(out) if one.kind == "train"]
    assert [m["optim/lr"] for m in steps] == pytest.approx([1e-3, 1e-3 * 0.5**2])
    for metrics in steps:
        assert metrics["sync/max_logprob_gap"] < 1e-3
        assert metrics["policy/correction_dropped"] == 0
        assert metrics["policy/ratio"] == pytest.approx(1, abs=1e-3)
        assert "policy/clip_share" not in metrics, "the loss is GRPO's own"
        assert {"reward/brevity/score", "reward/Mentions/any"} <= metrics.keys()
    assert json.loads((out / "config.json").read_text())["algorithm"]["steepness"] == 2.0
    rows = read_rollouts(out).to_pylist()
    assert len(rows) == 2 * 3 * 4
    heard = [one["dialogue"][1]["content"] for one in rows if one["dialogue"]]
    assert heard
    assert set(heard) == {"Look again."}
