"""Checkpoints are whole or not there, and old ones go only after a newer one is whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from medray.config.model import ModelConfig
from medray.errors import CheckpointError, ResourceError
from medray.models.checkpoints.checkpoint import load_state, save_checkpoint, try_save
from medray.models.load import PolicyModel, load_policy
from medray.storage.run_folder import checkpoints, load_scalars


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> PolicyModel:
    """The tiny model."""
    return load_policy(ModelConfig(path=str(tiny_model)))


def _state(step: int) -> dict[str, object]:
    return {"tensors": [("exp_avg.w", torch.full((4,), float(step)))], "scalars": {"step": step}}


def test_keeps_the_newest_and_reads_them_back(policy: PolicyModel, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, policy, _state(step), keep_last=2)
    assert [c.name for c in checkpoints(tmp_path)] == ["step_000002", "step_000003"]
    state = load_state(checkpoints(tmp_path)[-1])
    assert state["scalars"] == {"step": 3}
    assert state["tensors"]["exp_avg.w"].tolist() == [3.0] * 4


def test_an_unfinished_folder_is_not_a_checkpoint(policy: PolicyModel, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, policy, _state(1), keep_last=2)
    (tmp_path / "checkpoints" / ".step_000002.partial").mkdir()
    (tmp_path / "checkpoints" / "step_000003").mkdir()
    assert [c.name for c in checkpoints(tmp_path)] == ["step_000001"]


def test_damaged_state_is_named(policy: PolicyModel, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, 1, policy, _state(1), keep_last=2)
    (folder / "trainer_state.json").write_text("{half")
    with pytest.raises(CheckpointError, match=r"step_000001: trainer_state\.json cannot be read"):
        load_scalars(folder)
    (folder / "trainer_state.tensors").write_bytes(b"\x00" * 10)
    with pytest.raises(CheckpointError, match=r"trainer_state\.tensors cannot be read"):
        load_state(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 KiB; mounting one needs root."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk_is_one_line_and_leaves_nothing_half_written(
    policy: PolicyModel, small_disk: Path
) -> None:
    save_checkpoint(small_disk, 1, policy, {"tensors": [], "scalars": {"step": 1}}, keep_last=2)
    with pytest.raises(ResourceError, match=r"the disk is full.*free some space") as caught:
        save_checkpoint(small_disk, 2, policy, _state(2), keep_last=2)
    assert "\n" not in str(caught.value)
    assert [p.name for p in (small_disk / "checkpoints").iterdir()] == ["step_000001"]


ODD_SETTINGS = {"temperature": 0.6, "top_p": 0.9, "top_k": 20, "eos_token_id": [2, 3]}


def test_generation_settings_are_saved_as_they_came(tiny_model: Path, tmp_path: Path) -> None:
    """transformers loads a temperature without do_sample, and refuses to save it."""
    source = shutil.copytree(tiny_model, tmp_path / "source")
    (source / "generation_config.json").write_text(json.dumps(ODD_SETTINGS))
    odd = load_policy(ModelConfig(path=str(source)))

    try_save(tmp_path / "run", odd)
    save_checkpoint(tmp_path / "run", 1, odd, _state(1), keep_last=1)

    [saved] = checkpoints(tmp_path / "run")
    written = json.loads((saved / "generation_config.json").read_text())
    assert {key: written.get(key) for key in ODD_SETTINGS} == ODD_SETTINGS
    assert "do_sample" not in written
    load_policy(ModelConfig(path=str(saved)))


def test_what_cannot_be_saved_is_found_at_the_start(
    policy: PolicyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_save(tmp_path, policy)
    assert list((tmp_path / "checkpoints").iterdir()) == []

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("this tokenizer\nhas no file form")

    with monkeypatch.context() as patch:
        patch.setattr(policy.tokenizer, "save_pretrained", refuse, raising=False)
        with pytest.raises(CheckpointError, match=r"cannot be written to .*: this tokenizer$"):
            try_save(tmp_path, policy)
    assert list((tmp_path / "checkpoints").iterdir()) == []

    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="file"):
        try_save(tmp_path / "file", policy)
