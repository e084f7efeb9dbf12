"""Every example of docs/REWARDS.md is accepted by check-config, in a folder outside the repository."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from medray.config.reward import RewardConfig
from medray.rewards.mixture import build_rewards
from medray.rewards.registry import FORMS, REWARDS
from tests.support.command import ROOT, medray_here

from .helpers import group, prompt

PAGE = (ROOT / "docs" / "REWARDS.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
YAML = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The page's modules in one folder, which is importable as a command makes it."""
    folder = tmp_path_factory.mktemp("mine")
    for name, code in PYTHON:
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name, _ in PYTHON:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("settings", YAML, ids=range(len(YAML)))
def test_an_example_is_accepted(settings: str, folder: Path) -> None:
    (folder / "job.yaml").write_text(settings, encoding="utf-8")
    outcome = medray_here("check-config", "grpo", str(folder / "job.yaml"))
    assert outcome.code == 0, outcome.stderr


def test_every_reward_has_a_row() -> None:
    rows = set(re.findall(r"^\| `([\w:]+)` \|", PAGE, re.MULTILINE))
    assert set(REWARDS) | {f"{form}:module:function" for form in FORMS} <= rows


def scored(kind: str, *texts: str, answer: str) -> tuple[float, ...]:
    """Rewards under the first example that begins with a term of this kind."""
    examples = [yaml.safe_load(text)["rewards"] for text in YAML]
    config = next(rewards[0] for rewards in examples if rewards[0]["kind"].startswith(kind))
    rewards = build_rewards([RewardConfig.model_validate(config)])
    return rewards.score(group(prompt(answer), *texts)).rewards


def test_the_functions_of_the_page() -> None:
    assert scored("trl", "Take 5 mg", "Take 5 g", answer="5 mg") == (1.0, 0.0)
    assert scored("trl", "Take 5 mg", answer="") == (0.0,)
    assert scored("verl", "Go to the ward", "Wait", answer="ward") == (1.0, 0.0)
