"""Finding what is to be served: runs, checkpoints, adapters and their bases, names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from medray.config.serve import ServeApp
from medray.errors import ConfigError, ModelError
from medray.models.served import find_model, name_of, resolve


def _checkpoint(run: Path, step: int, files: dict[str, object]) -> Path:
    folder = run / "checkpoints" / f"step_{step:06d}"
    folder.mkdir(parents=True)
    for name, content in {"trainer_state.json": {}, **files}.items():
        (folder / name).write_text(json.dumps(content))
    (run / "config.json").write_text("{}")
    return folder


CAUSAL = {"config.json": {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 99}}


def _adapter(base: str, **settings: object) -> dict[str, object]:
    config = {"base_model_name_or_path": base, "task_type": "CAUSAL_LM", "r": 12, **settings}
    return {"adapter_config.json": config}


def test_a_run_stands_for_its_newest_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "grpo"
    _checkpoint(run, 10, CAUSAL)
    newest = _checkpoint(run, 20, CAUSAL)
    (run / "checkpoints" / "step_000030").mkdir()  # not whole: no trainer state
    model = find_model(str(run))
    assert (model.name, model.source, model.max_positions) == ("grpo", str(newest), 99)
    assert name_of(str(newest)) == "grpo"


def test_a_run_of_an_adapter_is_served_on_its_base(tmp_path: Path, tiny_model: Path) -> None:
    run = tmp_path / "lora"
    folder = _checkpoint(run, 5, _adapter(str(tiny_model)))
    model = find_model(str(run))
    assert model.names == (tiny_model.name, "lora")
    assert model.adapters[0].folder == folder
    assert model.lora_rank == 16


def test_names_must_differ(tmp_path: Path, tiny_model: Path) -> None:
    copy = shutil.copytree(tiny_model, tmp_path / tiny_model.name)
    twice = {"models": [{"path": str(tiny_model)}, {"path": str(copy)}]}
    with pytest.raises(ConfigError, match="two models are named"):
        resolve(ServeApp.model_validate(twice))
    twice["models"][1]["name"] = "other"
    assert [m.name for m in resolve(ServeApp.model_validate(twice))] == [tiny_model.name, "other"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"config.json": {"architectures": ["LlamaForSequenceClassification"]}},
            "is not a language model",
        ),
        (_adapter("smollm2-135m", use_dora=True), "merge it first"),
        (_adapter("smollm2-135m", modules_to_save=["lm_head"]), "merge it first"),
        (_adapter("smollm2-135m", task_type="SEQ_CLS"), "does not belong to a language model"),
    ],
)
def test_what_cannot_be_served(tmp_path: Path, files: dict[str, object], said: str) -> None:
    run = tmp_path / "run"
    _checkpoint(run, 1, files)
    with pytest.raises(ModelError, match=said):
        find_model(str(run))


def test_a_run_without_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ModelError, match="without a checkpoint: wait until"):
        find_model(str(tmp_path))


def test_a_base_is_no_adapter(tiny_model: Path) -> None:
    app = {"models": [{"path": str(tiny_model), "adapters": [{"path": str(tiny_model)}]}]}
    with pytest.raises(ModelError, match="contains no adapter"):
        resolve(ServeApp.model_validate(app))


def test_a_damaged_file_of_weights_is_named(tmp_path: Path, tiny_model: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        find_model(str(folder))
