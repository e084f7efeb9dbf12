"""Each algorithm is a class with its own keys and defaults, and parts that contradict each other are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from medray.config.algorithms.base import (
    AlgorithmConfig,
    DynamicSamplingConfig,
    OverlongConfig,
    RewardKl,
)
from medray.config.algorithms.grpo import Grpo
from medray.config.algorithms.registry import ALGORITHMS, checked_algorithm
from medray.config.correction import IcePop, SequenceMask, Tis
from medray.config.distill import DistillJob
from medray.config.grpo import GrpoJob
from medray.config.loader import dump_config, load_config
from medray.config.policy import KlConfig
from medray.errors import ConfigError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "jobs" / "configs" / "grpo_smollm2_cpu.yaml"
REWARDED = [name for name in ALGORITHMS if name != "distill"]


def _message(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(GrpoJob, None, overrides)
    return str(caught.value)


def _settings(name: str) -> dict[str, Any]:
    return {"kind": name} | ({"distill": {"teacher": {}}} if name == "distill" else {})


def test_without_a_kind_it_is_mean_only_grpo_over_tokens() -> None:
    config = GrpoJob().algorithm

    assert isinstance(config, Grpo)
    assert (config.kind, config.estimator, config.advantage_scale) == ("grpo", "group", "none")
    assert (config.loss, config.aggregation) == ("clipped", "token")
    assert (config.clip_low, config.clip_high) == (0.2, 0.2)
    assert (config.kl, config.minibatches, config.epochs) == (KlConfig(), 1, 1)
    assert (config.correction, config.dynamic_sampling, config.overlong) == (None, None, None)
    assert not config.zero_advantages


def test_the_example_takes_every_kind_on_the_command_line() -> None:
    assert load_config(GrpoJob, EXAMPLE).algorithm == Grpo()
    for name in REWARDED:
        job = load_config(GrpoJob, EXAMPLE, [f"algorithm.kind={name}"])
        assert type(job.algorithm) is ALGORITHMS[name]
        assert job.algorithm == ALGORITHMS[name](kind=name)


@pytest.mark.parametrize(
    ("name", "estimator", "values"),
    [
        ("grpo", "group", {"advantage_scale": "none"}),
        ("dr_grpo", "group", {"aggregation": "fixed"}),
        ("rloo", "rloo", {"aggregation": "fixed", "kl": RewardKl()}),
        ("reinforce_pp", "reinforce_pp", {"aggregation": "token", "kl": RewardKl()}),
        ("reinforce_pp_baseline", "reinforce_pp_baseline", {"aggregation": "token"}),
        ("remax", "remax", {"aggregation": "fixed", "kl": RewardKl()}),
        ("opo", "opo", {"aggregation": "token"}),
        ("pass_at_k", "pass_at_k", {"k": 4, "threshold": 0.5}),
        ("gdpo", "gdpo", {"aggregation": "token"}),
        (
            "dapo",
            "group",
            {
                "advantage_scale": "std",
                "clip_low": 0.2,
                "clip_high": 0.28,
                "dynamic_sampling": DynamicSamplingConfig(),
                "overlong": OverlongConfig(),
            },
        ),
        (
            "gspo",
            "group",
            {
                "advantage_scale": "std",
                "loss": "gspo",
                "aggregation": "sequence",
                "clip_low": 3e-4,
                "clip_high": 4e-4,
            },
        ),
        (
            "cispo",
            "group",
            {"advantage_scale": "std", "loss": "cispo", "clip_low": 1.0, "clip_high": 4.0},
        ),
        (
            "gmpo",
            "group",
            {
                "advantage_scale": "std",
                "loss": "gmpo",
                "aggregation": "sequence",
                "clip_low": 0.4,
                "clip_high": 0.4,
            },
        ),
        (
            "sapo",
            "group",
            {"advantage_scale": "std", "loss": "sapo", "aggregation": "sequence"},
        ),
        (
            "dppo",
            "group",
            {
                "advantage_scale": "none",
                "aggregation": "fixed",
                "loss": "dppo_tv",
                "clip_low": 0.15,
                "clip_high": 0.15,
            },
        ),
        ("distill", "none", {"aggregation": "token"}),
    ],
)
def test_an_algorithm_has_its_papers_values(
    name: str, estimator: str, values: dict[str, Any]
) -> None:
    config = checked_algorithm(_settings(name))

    assert config.estimator == estimator
    assert {key: getattr(config, key) for key in values} == values


def test_where_an_algorithm_puts_its_kl() -> None:
    kl = {name: ALGORITHMS[name]().kl for name in REWARDED}  # pyright: ignore[reportCallIssue]

    assert {n: (k.place, k.estimator) for n, k in kl.items()} == {
        "grpo": ("loss", "k3"),
        "dr_grpo": ("loss", "k3"),
        "rloo": ("reward", "k1"),
        "reinforce_pp": ("reward", "k1"),
        "reinforce_pp_baseline": ("loss", "k2"),
        "remax": ("reward", "k1"),
        "opo": ("loss", "k3"),
        "pass_at_k": ("loss", "k3"),
        "gdpo": ("loss", "k3"),
        "dapo": ("loss", "k3"),
        "gspo": ("loss", "k3"),
        "gmpo": ("loss", "k3"),
        "cispo": ("loss", "k3"),
        "sapo": ("loss", "k3"),
        "dppo": ("loss", "k3"),
    }
    assert all(k.coef == 0 for k in kl.values())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_resolved_configuration_is_read_back_unchanged(name: str) -> None:
    job = GrpoJob.model_validate({"algorithm": _settings(name) | {"kl": {"coef": 0.1}}})

    assert GrpoJob.model_validate_json(dump_config(job)) == job
    assert json.loads(dump_config(job))["algorithm"]["kind"] == name


def test_no_two_algorithms_are_the_same() -> None:
    found = [checked_algorithm(_settings(name)) for name in ALGORITHMS]
    settings = [
        json.dumps([c.estimator, c.uses_advantages, c.model_dump(exclude={"kind"})]) for c in found
    ]

    assert len(set(settings)) == len(ALGORITHMS)


def test_a_key_that_is_written_down_wins() -> None:
    config = load_config(
        GrpoJob, None, ["algorithm.kind=dapo", "algorithm.clip_high=0.4", "algorithm.overlong=null"]
    ).algorithm  # fmt: skip

    assert config.clip_high == 0.4
    assert config.overlong is None
    assert config.dynamic_sampling is not None


def test_the_rest_of_a_section_keeps_the_algorithms_values() -> None:
    config = checked_algorithm({"kind": "reinforce_pp", "kl": {"coef": 0.1}})

    assert (config.kl.coef, config.kl.place, config.kl.estimator) == (0.1, "reward", "k1")


@pytest.mark.parametrize(("text", "on"), [("true", True), ("false", False)])
def test_hooks_are_switched_with_true_and_false(text: str, on: bool) -> None:
    overrides = [f"algorithm.dynamic_sampling={text}", f"algorithm.overlong={text}"]
    for name in ("grpo", "dapo"):
        config = load_config(GrpoJob, None, [f"algorithm.kind={name}", *overrides]).algorithm
        assert (config.dynamic_sampling is not None) is on
        assert (config.overlong is not None) is on


def test_the_nearest_algorithm_is_suggested() -> None:
    assert _message("algorithm.kind=drgrpo").startswith(
        "algorithm: 'drgrpo' is unknown: did you mean dr_grpo? (one of grpo, dr_grpo,"
    )


def test_keys_of_other_algorithms_are_unknown() -> None:
    for name in ("dr_grpo", "rloo", "remax", "reinforce_pp", "reinforce_pp_baseline"):
        text = _message(f"algorithm.kind={name}", "algorithm.advantage_scale=std")
        assert text == (
            "unknown key algorithm.advantage_scale: the algorithm.kind that is chosen has no such key"
        )
    keys = {"loss", "clip_low", "ratio", "correction", "advantage", "overlong", "zero_advantages"}
    with pytest.raises(ValidationError) as caught:
        checked_algorithm(_settings("distill") | dict.fromkeys(keys, None))
    assert {e["loc"][0] for e in caught.value.errors() if e["type"] == "extra_forbidden"} == keys


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["preset=rloo"], "unknown key algorithm.preset: it is now algorithm.kind"),
        (["kind=distill"], "algorithm.distill: Field required"),
        (["distill.coef=1"], "algorithm.distill.teacher: Field required"),
        (
            ["advantage=rloo"],
            "algorithm.advantage: 'rloo' is unknown: write an advantage estimator of your own as",
        ),
        (["correction.kind=tis", "ratio=behaviour"], "would count twice: set algorithm.ratio=old"),
        (["correction=icepop", "ratio=behaviour"], "would count twice"),
        (
            ["correction.kind=tis", "correction.low=0.5"],
            "unknown key algorithm.correction.low: the algorithm.correction.kind that is",
        ),
        (["correction.kind=icepop", "correction.low=6"], "low=6.0 is not below high=5.0"),
        (["correction.kind=icepopp"], "kind=icepopp is unknown: did you mean icepop?"),
        (["loss=gspoo"], "algorithm.loss: 'gspoo' is unknown: did you mean gspo?"),
        (["loss={kind: gspo, options: {a: 1}}"], "algorithm.loss: gspo takes no options"),
        (
            ["loss={kind: sapo, options: {tau: 1}}"],
            "'tau' is no option of sapo: use tau_pos or tau_neg",
        ),
        (
            ["loss={kind: sapo, options: {tau_pos: 0}}"],
            "tau_pos=0 of sapo must be a number above 0",
        ),
        (["clip_dual=1.1"], "clip_dual=1.1 is not above 1 + clip_high=1.2"),
        (["correction=[tis, sequence_mis]"], "tis and sequence_mis each weight by the mismatch"),
        (
            ["correction=[sequence_tis, sequence_mask]", "ratio=behaviour"],
            "ratio=behaviour already includes",
        ),
        (["kl.estimator=k4"], "algorithm.kl.estimator: 'k4' is unknown: did you mean"),
        (["overlong.share=0"], "algorithm.overlong.share"),
        (["dynamic_sampling.max_rounds=0"], "algorithm.dynamic_sampling.max_rounds"),
        (["dynamic_sampling.max_round=2"], "did you mean algorithm.dynamic_sampling.max_rounds?"),
        (["advantage_scal=std"], "did you mean algorithm.advantage_scale?"),
    ],
)
def test_contradictions_are_refused(overrides: list[str], expected: str) -> None:
    assert expected in _message(*(f"algorithm.{o}" for o in overrides))


@pytest.mark.parametrize("name", REWARDED)
def test_one_sample_a_prompt_suits_those_that_compare_with_something_else(name: str) -> None:
    overrides = [f"algorithm.kind={name}", "rollout.samples_per_prompt=1"]
    if name in ("reinforce_pp", "remax"):
        assert load_config(GrpoJob, None, overrides).rollout.samples_per_prompt == 1
        assert "samples_per_prompt=2" in _message(*overrides, "algorithm.dynamic_sampling=true")
    else:
        assert "samples_per_prompt=1 gives a response nothing to be compared" in _message(
            *overrides
        )


def test_a_distillation_job_is_the_teacher_alone_unless_it_names_an_algorithm() -> None:
    teacher = "algorithm.distill.teacher.path=runs/sft"

    assert not load_config(DistillJob, None, [teacher]).algorithm.uses_advantages
    mixed = load_config(DistillJob, None, [teacher, "algorithm.kind=grpo"]).algorithm
    assert isinstance(mixed, Grpo)
    assert mixed.uses_advantages
    with pytest.raises(ConfigError, match=r"set algorithm\.distill\.teacher\.path"):
        load_config(DistillJob, None, ["algorithm.kind=grpo"])


@pytest.mark.parametrize(
    ("settings", "old_is_anchor", "costs_a_pass"),
    [
        ({}, False, False),
        ({"minibatches": 2}, False, False),
        ({"ratio": "old"}, True, False),
        ({"ratio": "old", "epochs": 2}, True, True),
        ({"correction": {"kind": "tis"}}, True, False),
        ({"correction": {"kind": "tis"}, "minibatches": 2}, True, True),
        ({"correction": {"kind": "sequence_mask"}, "ratio": "behaviour"}, False, False),
        ({"correction": {"kind": "sequence_mask"}, "ratio": "behaviour", "epochs": 2}, False, True),
    ],
)
def test_old_logprobs_cost_a_pass_only_when_several_steps_need_them(
    settings: dict[str, Any], old_is_anchor: bool, costs_a_pass: bool
) -> None:
    config = checked_algorithm(settings)

    assert config.ratio_is_to_old is old_is_anchor
    assert config.needs_old_pass is costs_a_pass


def test_every_correction_has_bounds_of_its_own() -> None:
    def of(written: Any) -> Any:
        return Grpo.model_validate({"correction": written}).correction

    assert of("tis") == Tis(high=2.0)
    assert of({"kind": "icepop", "low": 0.25}) == IcePop(low=0.25, high=5.0)
    assert of("sequence_mask") == SequenceMask(low=0.99, high=1.01)
    assert of(None) is None


def test_every_algorithm_has_a_row_in_the_documentation_and_in_the_keys_text() -> None:
    text = (ROOT / "docs" / "ALGORITHMS.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    described = AlgorithmConfig.model_fields["kind"].description or ""

    for name, algorithm in ALGORITHMS.items():
        assert any(
            f"`{name}`" in row and algorithm.title in row and algorithm.paper in row for row in rows
        )
        assert name in described


def test_a_wide_clip_is_no_mistake_beside_the_default_dual_clip() -> None:
    assert checked_algorithm({"kind": "grpo", "clip_high": 4.0}).clip_dual == 3.0
