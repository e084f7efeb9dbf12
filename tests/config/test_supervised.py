"""Rules between the keys of the supervised jobs: what contradicts is refused with what to set."""

from __future__ import annotations

from typing import Any

import pytest

from medray.config.base import Section
from medray.config.dpo import DpoJob, PreferenceConfig
from medray.config.kto import KtoJob
from medray.config.loader import dump_config, load_config
from medray.config.orpo import OrpoJob
from medray.config.pt import PtJob
from medray.config.rm import RmJob
from medray.config.sft import SftJob
from medray.errors import ConfigError

JOBS: list[type[Section]] = [PtJob, SftJob, RmJob, DpoJob, OrpoJob, KtoJob]


@pytest.mark.parametrize("schema", JOBS)
def test_defaults_are_whole_and_round_trip(schema: type[Section]) -> None:
    job = load_config(schema)
    assert schema.model_validate_json(dump_config(job)) == job


@pytest.mark.parametrize(
    ("schema", "overrides", "message"),
    [
        (SftJob, ["merge=true"], "model.lora={}"),
        (
            SftJob,
            ["batch.rows_per_step=2", "workers.learner.count=4"],
            "batch.rows_per_step=2 is smaller than workers.learner.count=4",
        ),
        (SftJob, ["model.device=cuda"], "workers.learner.gpus"),
        (SftJob, ["workers.learner.count=2", "learner.strategy=single"], "learner.strategy=ddp"),
        (SftJob, ["learner.offload_optimizer=true", "learner.strategy=fsdp2"], "zero2"),
        (SftJob, ["workers.learner.min_count=3"], "exceeds count=1"),
        (
            SftJob,
            ["learner.strategy=zero3", "model.quantisation=4bit", "model.lora={}"],
            "cannot shard quantised weights",
        ),
        (SftJob, ["selection.patience=3", "evaluation.num_rows=0"], "evaluation.num_rows above 0"),
        (SftJob, ["model.adapter=somewhere"], "model.lora={}"),
        (SftJob, ["loss.beta=0.1"], "loss.beta"),
        (DpoJob, ["loss.kind=robust"], "label_smoothing above 0"),
        (DpoJob, ["loss.kind=ipo", "loss.label_smoothing=0.1"], "no effect with kind=ipo"),
        (DpoJob, ["loss.kind=exo"], "kind=exo needs the share of wrong labels"),
        (DpoJob, ["loss.kind=nca", "loss.divergence=js"], "does not read the margin of divergence=js"),
        (DpoJob, ["loss.kind=simpo", "loss.divergence=js"], "does not read the margin"),
        (DpoJob, ["loss.label_smoothing=0.5"], "less than 0.5"),
        (DpoJob, ["loss.gamma=0.5"], "the target margin of SimPO"),
        (DpoJob, ["loss.kind=simpo", "loss.reference=separate"], "has no reference"),
        (DpoJob, ["loss.reference=adapter_off"], "set model.lora={}"),
        (DpoJob, ["model.adapter=a", "model.lora={}"], "model.path instead"),
        (KtoJob, ["loss.reference=adapter_off"], "set model.lora={}"),
        (KtoJob, ["model.adapter=a", "model.lora={}"], "model.path instead"),
        (KtoJob, ["loss.desirable_weight=0"], "greater than 0"),
        (RmJob, ["loss.centring=-1"], "greater than or equal to 0"),
        (OrpoJob, ["loss.kind=simpo"], "loss.kind"),
        (PtJob, ["model.rope.factor=1", "model.rope.kind=yarn"], "greater than 1"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(
    schema: type[Section], overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message.replace("{", r"\{").replace("}", r"\}")):
        load_config(schema, overrides=overrides)


@pytest.mark.parametrize(
    ("schema", "overrides", "expected"),
    [
        (DpoJob, ["loss.kind=simpo", "model.adapter=a", "model.lora={}"], ("loss", "kind", "simpo")),
        (DpoJob, ["loss.reference=adapter_off", "model.lora={}"], ("loss", "reference", "adapter_off")),
        (DpoJob, ["loss.reference=precomputed", "model.adapter=a", "model.lora={}"], ("model", "adapter", "a")),
        (SftJob, ["model.lora.modules_to_save=[embeddings]"], ("model", "tokenizer", None)),
        (SftJob, ["optim.lr=1e-4"], ("optim", "schedule", "cosine")),
        (SftJob, ["checkpoint.keep_last=3"], ("checkpoint", "every", 100)),
        (PtJob, ["optim.schedule=wsd", "optim.decay_ratio=0.2"], ("optim", "decay_ratio", 0.2)),
    ],
)  # fmt: skip
def test_what_fits_is_taken(
    schema: type[Section], overrides: list[str], expected: tuple[str, str, Any]
) -> None:
    section, key, value = expected
    assert getattr(getattr(load_config(schema, overrides=overrides), section), key) == value


@pytest.mark.parametrize("schema", JOBS)
def test_every_job_key_is_documented(schema: type[Section]) -> None:
    json_schema = schema.model_json_schema()
    for name, definition in {schema.__name__: json_schema, **json_schema["$defs"]}.items():
        for key, value in definition.get("properties", {}).items():
            assert "description" in value or "$ref" in str(value), f"{name}.{key}"


def test_which_preference_losses_count_per_token() -> None:
    """IPO by its authors' word, unless asked for sums; SimPO always; the others only when asked."""
    by_length = lambda **keys: PreferenceConfig(**keys).by_length  # noqa: E731
    assert by_length(kind="ipo")
    assert not by_length(kind="ipo", length_normalised=False)
    assert by_length(kind="simpo", length_normalised=False)
    assert not by_length(kind="sigmoid")
    assert by_length(kind="nca", length_normalised=True)
