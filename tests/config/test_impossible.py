"""Settings that cannot work are refused by `medray check-config`, in one line that names the key and what to set."""

from __future__ import annotations

import importlib
import pkgutil
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import ConfigDict, ValidationError

import medray.config
from medray.config.base import MAX_INT, MayBeBlank, Section
from tests.support.command import ROOT, assert_one_line, medray_here

EMPTY = "is an empty text"
FINITE = "finite number"
TABLE: list[tuple[str, str, str, str]] = [
    ("grpo", "rollout.temperature=0.001", "rollout", "set rollout.temperature to 0.01 or more"),
    ("grpo", "rollout.temperature=.inf", "rollout.temperature", FINITE),
    ("grpo", "rollout.stop=['']", "rollout.stop", EMPTY),
    ("grpo", "rollout.stop=[END, END]", "rollout.stop", "'END' is listed twice"),
    ("grpo", "optim.lr=.inf", "optim.lr", FINITE),
    ("grpo", "optim.lr=.nan", "optim.lr", FINITE),
    ("grpo", "optim.lr=inf", "optim.lr", FINITE),
    ("grpo", "optim.betas=[1.0, 0.999]", "optim.betas.0", "less than 1"),
    ("grpo", "optim.betas=[0.9, .nan]", "optim.betas.1", FINITE),
    ("grpo", "rewards=[{kind: choice, weight: .inf}]", "rewards.0.weight", FINITE),
    (
        "grpo",
        "rewards=[{kind: choice, weight: 0}]",
        "every reward has weight 0",
        "set rewards.0.weight",
    ),
    ("grpo", "seed=-1", "seed", "greater than or equal to 0"),
    ("grpo", "seed=4294967296", "seed", "less than or equal to 4294967295"),
    ("grpo", "data.seed=-1", "data.seed", "greater than or equal to 0"),
    ("grpo", "out=''", "out", EMPTY),
    ("grpo", "out='  '", "out", EMPTY),
    ("grpo", 'out="a\\0b"', "out", "NUL"),
    ("grpo", "model.path=''", "model.path", EMPTY),
    ("grpo", "mirror=backup", "mirror", "file:///"),
    ("grpo", "model.dtype=float16", "model.dtype=float16", "set model.dtype=bfloat16 or float32"),
    ("grpo", "model.lora={targets: []}", "model.lora.targets", "adapts nothing"),
    ("grpo", "num_steps=99999999999999999999", "num_steps", "is too large"),
    ("grpo", "workers.rollout.gpus=1.5", "workers.rollout.gpus", "whole numbers"),
    ("grpo", "workers.rollout.custom={GPU: 1}", "workers.rollout.custom", "set cpus or gpus"),
    ("grpo", "workers.rollout.custom={node: -1}", "workers.rollout.custom.node", "greater than 0"),
    ("grpo", "logging.trackers=[wandb, wandb]", "logging.trackers", "is listed twice"),
    ("grpo", "deadlines.start_s=.inf", "deadlines.start_s", FINITE),
    ("grpo", "deadlines.grade_s=1e10", "deadlines.grade_s", "less than or equal to 1000000000"),
    ("grpo", "optim.lr=1e300", "optim.lr", "is too large"),
    ("ppo", "critic.optim.betas=[0.9, 1]", "critic.optim.betas.1", "less than 1"),
    ("ppo", "algorithm.gamma=.nan", "algorithm.gamma", FINITE),
    ("ppo", "model={dtype: float16, lora: {}}", "model.dtype=float16", "losses are not scaled"),
    ("sft", "model.dtype=float16", "model.dtype=float16", "set model.dtype=bfloat16 or float32"),
    ("sft", "optim.lr=-.inf", "optim.lr", FINITE),
    ("sft", "chat.tool_format=lama3", "chat.tool_format", "'llama3'"),
    ("dpo", "loss.beta=.inf", "loss.beta", FINITE),
    ("prepare", "filters.languages=[fr]", "filters.languages", "'en'"),
    ("generate", "sampling.temperature=1e-3", "sampling", "set sampling.temperature=0"),
    ("generate", "sampling.stop=['']", "sampling.stop", EMPTY),
    ("generate", "output=''", "output", EMPTY),
    ("evaluate", "models=[]", "models", "at least 1 item"),
]
"""Job, setting, how the line begins (the key), and what it says."""

CLASSES = sorted(
    {
        value
        for module in pkgutil.walk_packages(medray.config.__path__, "medray.config.")
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, type) and issubclass(value, Section) and value is not Section
    },
    key=lambda section: (section.__module__, section.__name__),
)
FIELDS = [(section, name) for section in CLASSES for name in section.model_fields]


@pytest.mark.parametrize(("job", "setting", "key", "said"), TABLE, ids=lambda text: text[:40])
def test_check_config_refuses_it(job: str, setting: str, key: str, said: str) -> None:
    example = sorted((ROOT / "jobs/configs").glob(f"{job}_smollm2*.yaml")) or sorted(
        (ROOT / "jobs/configs").glob(f"{job}_*_cpu.yaml")
    )
    outcome = medray_here("check-config", job, str(example[0]), setting)

    assert_one_line(outcome, 2, said)
    assert outcome.stderr.startswith(f"error: {key}")


def leaves(annotation: Any) -> Iterator[Any]:
    """The types that a field may hold, those inside lists as lists of one type; mappings and sections left out."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from leaves(part)
    elif hasattr(annotation, "__metadata__"):
        yield from leaves(get_args(annotation)[0])
    elif origin is tuple:
        yield from (list[leaf] for part in get_args(annotation)[:1] for leaf in leaves(part))
    elif origin is Literal:
        yield Literal
    elif annotation in (int, float, str):
        yield annotation


def impossible(section: type[Section], name: str) -> Iterator[Any]:
    """Values at the edges of a field's types that no field of these types can mean."""
    field = section.model_fields[name]
    kinds = set(leaves(field.annotation))
    blank = next((mark for mark in field.metadata if isinstance(mark, MayBeBlank)), None)
    blanks = [] if blank and blank.empty else [""] if blank else ["", " \n"]
    if float in kinds:
        yield from (float("nan"), float("inf"), -float("inf"), "nan", "Infinity", 1e39, 10**400)
    if list[float] in kinds:
        yield from ([float("nan")] * 2, [float("inf")] * 2)
    if int in kinds:
        yield from (MAX_INT + 1, -MAX_INT - 1)
    if str in kinds:
        yield from (*blanks, "a\0b")
    elif Literal in kinds:
        yield from ("", "no such choice")
    if list[str] in kinds:
        yield from ([text] for text in blanks)
        yield ["twice", "twice"]
    if kinds and kinds <= {int, float, Literal}:
        yield from ("many", [], {}, True)
    if name == "seed":
        yield from (-1, 2**32)


@pytest.mark.parametrize("section", CLASSES, ids=lambda section: section.__name__)
def test_no_field_takes_what_it_cannot_mean(section: type[Section]) -> None:
    taken: list[tuple[str, Any]] = []
    for name in section.model_fields:
        for value in impossible(section, name):
            try:
                section.model_validate({name: value})
            except ValidationError as error:
                if any(problem["loc"][:1] == (name,) for problem in error.errors()):
                    continue
            taken.append((name, value))
    assert taken == []


def test_every_class_of_settings_is_tried() -> None:
    tried = {(section.__name__, name) for section, name in FIELDS if [*impossible(section, name)]}
    assert len(CLASSES) > 80
    assert {("OptimConfig", "lr"), ("GrpoJob", "seed"), ("RolloutConfig", "stop")} < tried
    assert {("AuthConfig", "token_env"), ("KlConfig", "coef"), ("Gspo", "clip_low")} < tried


class _Open(Section):
    """A section whose fields take too much."""

    model_config = ConfigDict(allow_inf_nan=True)
    rate: float = 1.0
    seed: int = 0


def test_a_field_that_takes_too_much_is_found() -> None:
    with pytest.raises(AssertionError, match="rate"):
        test_no_field_takes_what_it_cannot_mean(_Open)
