"""Functions in TRL's and verl's forms, called as those trainers call them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medray.commands.bundle import own_modules
from medray.config.data import DataConfig
from medray.config.reward import RewardConfig
from medray.data.schemas.verl import parse_verl
from medray.errors import ConfigError, GraderError
from medray.rewards.mixture import build_rewards
from medray.types import GroupScore, Prompt, RolloutGroup
from tests.support.command import medray_here

from .helpers import group, prompt, response

TRL, VERL = "trl:tests.rewards.written_for_trl", "verl:tests.rewards.written_for_verl"
PLAIN = {"conversational": False}


def score(kind: str, item: Prompt, *texts: str, **options: Any) -> GroupScore:
    return build_rewards([RewardConfig(kind=kind, options=options)]).score(group(item, *texts))


def item(answer: str = "4", **fields: Any) -> Prompt:
    asked = prompt(answer)
    return Prompt(replace(asked.record, **fields), asked.token_ids)


@pytest.mark.parametrize(
    ("name", "options", "texts", "expected"),
    [
        ("brevity", PLAIN, ("a" * 20, "a" * 10, ""), (0.0, -0.5, -1.0)),
        ("num_tokens", {}, ("x", "y"), (1.0, 1.0)),
        ("thinks_then_answers", {}, ("<think>a</think><answer>b</answer>", "b"), (1.0, 0.0)),
        ("boxed", PLAIN, (r"so \boxed{4}", r"\boxed{5}", "4"), (1.0, 0.0, 0.0)),
        ("slow_service", PLAIN, ("yes", "no"), (1.0, 0.0)),
        ("logs", PLAIN, ("a", "b"), (1.0, 1.0)),
        ("without_kwargs", PLAIN, ("4", "5"), (1.0, 0.0)),
    ],
)
def test_functions_for_trl(
    name: str, options: dict[str, Any], texts: tuple[str, ...], expected: tuple[float, ...]
) -> None:
    found = score(f"{TRL}:{name}", item(), *texts, **options)
    assert found.rewards == expected
    assert found.parts[f"{name}/scored"] == (1.0,) * len(texts)


def test_columns_are_the_records_fields_its_extra_and_names_for_them() -> None:
    hard = item(extra={"difficulty": 2.0})
    assert score(f"{TRL}:solved", hard, "4", "5").rewards == (2.0, 0.0)
    named = item(extra={"level": 3.0, "solution": "5"})
    columns = {"difficulty": "level"}
    assert score(f"{TRL}:solved", named, "4", "5", columns=columns).rewards == (0.0, 3.0)


def test_none_adds_nothing_and_is_reported() -> None:
    maths = score(f"{TRL}:maths_only", item(task="maths"), "4", "5", **PLAIN)
    other = score(f"{TRL}:maths_only", item(task="triage"), "4", "5", **PLAIN)
    assert (maths.rewards, maths.parts["maths_only/scored"]) == ((1.0, 0.0), (1.0, 1.0))
    assert (other.rewards, other.parts["maths_only/scored"]) == ((0.0, 0.0), (0.0, 0.0))


def test_a_dialogue_is_passed_turn_by_turn() -> None:
    turns = tuple(
        {"role": role, "content": text}
        for role, text in (("assistant", "Where?"), ("user", "Here."), ("assistant", "4"))
    )
    said = replace(response("4"), dialogue=turns)  # type: ignore[arg-type]
    reward = build_rewards([RewardConfig(kind=f"{TRL}:solved")])
    asked = item(extra={"difficulty": 1.0})
    assert reward.score(RolloutGroup(asked, (said,), 0)).rewards == (1.0,)


@pytest.mark.parametrize(
    ("name", "item_", "options", "texts", "expected"),
    [
        ("compute_score", item("1200"), {}, ("#### 1,200", "#### 12", "1200"), (1.0, 0.1, 0.0)),
        ("by_source", item("B", task="triage"), {}, ("B!", "A"), (1.0, 0.0)),
        ("detailed", item(), {}, ("4", "5"), (1.0, -1.0)),
        ("with_arguments", item(), {"arguments": {"bonus": 0.5}}, ("4", "5"), (1.5, 0.5)),
        ("short_form", item(), {}, ("4", "5"), (1.0, 0.0)),
        ("compute_score_async", item(), {}, ("4", "5", "4"), (1.0, 0.0, 1.0)),
    ],
)
def test_functions_for_verl(
    name: str, item_: Prompt, options: dict[str, Any], texts: tuple[str, ...], expected: Any
) -> None:
    assert score(f"{VERL}:{name}", item_, *texts, **options).rewards == expected


def test_values_of_the_returned_dict_are_parts() -> None:
    found = score(f"{VERL}:detailed", item(), "4", "5", parts=["acc"])
    assert found.parts["detailed/acc"] == (1.0, 0.0)
    with pytest.raises(GraderError, match="the returned dict has no 'f1', but score, acc, pred"):
        score(f"{VERL}:detailed", item(), "4", parts=["f1"])


def test_a_row_of_verl_reaches_the_function_as_it_is() -> None:
    row = {
        "data_source": "madeup",
        "prompt": [{"role": "user", "content": "胃痛"}],
        "reward_model": {"ground_truth": {"diagnosis": "胃炎", "recommendation": "休息"}},
        "extra_info": {"index": 3},
    }
    asked = Prompt(parse_verl(row, "a.jsonl:1", DataConfig()), np.array([1], np.int32))
    assert score(f"{VERL}:on_a_case", asked, "胃炎，请休息", "胃炎").rewards == (1.0, 0.5)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (f"{TRL}:too_few", {}, r"returned 1 values for 2 completions"),
        (f"{TRL}:says_nan", {}, r"value 0 is nan: return a finite number"),
        (f"{TRL}:says_text", {}, r"value 0 is 'good'"),
        (f"{TRL}:raises", {}, r"raised KeyError: 'no such drug'"),
        (f"{TRL}:solved", {}, r"needs the column 'difficulty'.*set options\.columns"),
        (f"{TRL}:boxed", {"columns": {"x": "y"}}, r"options\.columns\.x=y: record item-1 has no"),
        (f"{TRL}:num_tokens", {"high": 0.5}, r"returned 1\.0 .*outside its bounds"),
        (f"{VERL}:by_source", {}, r"raised NotImplementedError: no score for"),
        (f"{VERL}:returns_nothing", {}, r"score of response 0 is None"),
    ],
)
def test_a_failure_is_not_a_reward(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(GraderError, match=message):
        score(kind, item(), "a", "b", **options)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (f"{TRL}:missing", {}, r"rewards\.0\.kind=.*written_for_trl has no missing"),
        ("trl:no_such_module:f", {}, r"importing no_such_module failed"),
        ("trll:a:b", {}, r"trll is not a form, use one of trl, verl"),
        (f"{TRL}:AClass", {}, "is not a function"),
        (f"{TRL}:log", {}, "is not a function"),
        (f"{TRL}:positional_only", {}, "keyword arguments only"),
        (f"{TRL}:needs_state", {}, "needs trainer_state, which only TRL's trainer has"),
        (f"{TRL}:brevity", {"lo": 1}, r"rewards\.0\.options\.lo: did you mean low"),
        (f"{TRL}:brevity", {"low": 1, "high": 0}, r"low=1\.0 is not below high=0\.0"),
        (f"{VERL}:wants_more", {}, r"needs sandbox.*set options\.arguments\.sandbox"),
        (f"{VERL}:compute_score", {"arguments": {"x": 1}}, r"options\.arguments\.x is not an arg"),
    ],
)
def test_what_cannot_be_called_is_refused(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        score(kind, item(), "a", **options)


def test_check_config_finds_the_module_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("night_shift.py").write_text("def polite(completions, **kw):\n    return [1.0]\n")
    Path("job.yaml").write_text("rewards: [{kind: 'trl:night_shift:polite'}]\n")
    assert medray_here("check-config", "grpo", "job.yaml").code == 0
    assert own_modules(tmp_path) == [Path("night_shift.py")], "what medray submit uploads"
    Path("job.yaml").write_text("rewards: [{kind: 'trl:night_shift:polit'}]\n")
    refused = medray_here("check-config", "grpo", "job.yaml")
    assert refused.code == 2
    assert "rewards.0.kind=night_shift:polit: night_shift has no polit" in refused.stderr
