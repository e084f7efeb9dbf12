"""Presets fill what the user left open, and parts that contradict each other are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from medray.config.algorithm import AlgorithmConfig
from medray.config.algorithms.registry import PRESETS
from medray.config.grpo import GrpoJob
from medray.config.loader import dump_config, load_config
from medray.config.policy import CorrectionConfig, KlConfig
from medray.errors import ConfigError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "jobs" / "configs" / "grpo_smollm2_cpu.yaml"


def _message(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(GrpoJob, None, overrides)
    return str(caught.value)


def test_without_a_preset_it_is_mean_only_grpo_over_tokens() -> None:
    config = AlgorithmConfig()

    assert (config.preset, config.advantage, config.advantage_scale) == ("grpo", "group", "none")
    assert (config.loss, config.aggregation) == ("clipped", "token")
    assert (config.clip_low, config.clip_high) == (0.2, 0.2)
    assert (config.kl, config.minibatches, config.epochs) == (KlConfig(), 1, 1)
    assert (config.correction, config.dynamic_sampling, config.overlong) == (None, None, None)
    assert not config.zero_advantages


def test_the_example_takes_every_preset_on_the_command_line() -> None:
    assert load_config(GrpoJob, EXAMPLE).algorithm == AlgorithmConfig()
    for name in PRESETS:
        job = load_config(GrpoJob, EXAMPLE, [f"algorithm.preset={name}"])
        assert job.algorithm == AlgorithmConfig(preset=name)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_keys_and_survives_being_written_down(name: str) -> None:
    config = AlgorithmConfig.model_validate({"preset": name})
    dumped = config.model_dump()

    for key, value in PRESETS[name].keys.items():
        assert key in AlgorithmConfig.model_fields
        below = dumped[key]
        wanted = {k: below[k] for k in value} if isinstance(value, dict) else below
        assert wanted == value
    job = GrpoJob(algorithm=config)
    assert GrpoJob.model_validate_json(dump_config(job)) == job


def test_presets_are_different_algorithms() -> None:
    settings = [
        json.dumps(AlgorithmConfig(preset=name).model_dump(exclude={"preset"})) for name in PRESETS
    ]

    assert len(set(settings)) == len(PRESETS)


def test_a_key_that_is_written_down_wins() -> None:
    config = load_config(
        GrpoJob, None, ["algorithm.preset=dapo", "algorithm.clip_high=0.4", "algorithm.overlong=null"]
    ).algorithm  # fmt: skip

    assert config.clip_high == 0.4
    assert config.overlong is None
    assert config.dynamic_sampling is not None
    assert config.advantage_scale == "std"


def test_blocks_are_merged_key_by_key() -> None:
    for kl in ({"coef": 0.1}, KlConfig(coef=0.1)):
        config = AlgorithmConfig.model_validate({"preset": "reinforce_pp", "kl": kl})
        assert config.kl == KlConfig(coef=0.1, place="reward", estimator="k1")


@pytest.mark.parametrize(("text", "on"), [("true", True), ("false", False)])
def test_hooks_are_switched_with_true_and_false(text: str, on: bool) -> None:
    overrides = [f"algorithm.dynamic_sampling={text}", f"algorithm.overlong={text}"]
    for preset in ("grpo", "dapo"):
        config = load_config(GrpoJob, None, [f"algorithm.preset={preset}", *overrides]).algorithm
        assert (config.dynamic_sampling is not None) is on
        assert (config.overlong is not None) is on


def test_a_presets_other_spelling_is_suggested() -> None:
    assert _message("algorithm.preset=drgrpo").startswith(
        "algorithm.preset: 'drgrpo' is unknown: did you mean dr_grpo? (one of grpo, dr_grpo,"
    )


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["advantage=none"], "leaves nothing to train on: set algorithm.distill.teacher.path"),
        (["distill.coef=1"], "algorithm.distill.teacher: Field required"),
        (["advantage=rloo", "advantage_scale=std"], "set algorithm.advantage_scale=none"),
        (["correction.kind=tis", "ratio=behaviour"], "would count twice: set algorithm.ratio=old"),
        (["correction.kind=icepop", "ratio=behaviour"], "would count twice"),
        (["correction.kind=tis", "correction.low=0.5"], "does nothing for kind=tis"),
        (["correction.kind=icepop", "correction.low=6"], "low=6.0 is not below high=5.0"),
        (["correction.kind=icepopp"], "algorithm.correction.kind"),
        (["loss=gspoo"], "algorithm.loss"),
        (["overlong.share=0"], "algorithm.overlong.share"),
        (["dynamic_sampling.max_rounds=0"], "algorithm.dynamic_sampling.max_rounds"),
        (["dynamic_sampling.max_round=2"], "did you mean algorithm.dynamic_sampling.max_rounds?"),
    ],
)
def test_contradictions_are_refused(overrides: list[str], expected: str) -> None:
    assert expected in _message(*(f"algorithm.{o}" for o in overrides))


@pytest.mark.parametrize("preset", PRESETS)
def test_one_sample_a_prompt_suits_those_that_compare_with_something_else(preset: str) -> None:
    overrides = [f"algorithm.preset={preset}", "rollout.samples_per_prompt=1"]
    if preset in ("reinforce_pp", "remax"):
        assert load_config(GrpoJob, None, overrides).rollout.samples_per_prompt == 1
        assert "set it to 2" in _message(*overrides, "algorithm.dynamic_sampling=true")
    else:
        assert "samples_per_prompt=1 leaves nothing to compare" in _message(*overrides)


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
    config = AlgorithmConfig.model_validate(settings)

    assert config.ratio_is_to_old is old_is_anchor
    assert config.needs_old_pass is costs_a_pass


def test_every_correction_has_bounds() -> None:
    kinds = get_args(CorrectionConfig.model_fields["kind"].annotation)

    assert [CorrectionConfig(kind=kind).bounds for kind in kinds] == [
        (0.0, 2.0),
        (0.5, 5.0),
        (0.99, 1.01),
    ]
    assert CorrectionConfig(kind="icepop", low=0.25).bounds == (0.25, 5.0)


def test_every_preset_has_a_row_in_the_documentation_and_in_the_keys_text() -> None:
    text = (ROOT / "docs" / "ALGORITHMS.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    described = AlgorithmConfig.model_fields["preset"].description or ""

    for name, preset in PRESETS.items():
        assert any(
            f"`{name}`" in row and preset.title in row and preset.paper in row for row in rows
        )
        assert name in described
