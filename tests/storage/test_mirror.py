"""A run folder's copy: whole checkpoints only, the newest ones, and a run that continues from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from medray.errors import CheckpointError, ConfigError, ResourceError
from medray.storage.mirror import MARKER, Mirror


def checkpoint(out: Path, step: int) -> Path:
    folder = out / "checkpoints" / f"step_{step:06d}"
    (folder / "inner").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(step))
    (folder / "inner" / "file").write_text("x")
    (folder / MARKER).write_text(json.dumps({"step": step}))
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of an S3 server with a bucket called `runs`; skips where its packages are not installed."""
    pytest.importorskip("s3fs", reason="pip install s3fs 'moto[server]'")
    server = pytest.importorskip("moto.server", reason="pip install s3fs 'moto[server]'")
    s3 = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    s3.start()
    address = "http://{}:{}".format(*s3.get_host_and_port())
    yield address
    s3.stop()


@pytest.fixture
def s3_url(s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A folder of its own in that bucket, reached with what a user would set in the environment."""
    import fsspec

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    storage = fsspec.filesystem("s3", skip_instance_cache=True)
    if not storage.exists("runs"):
        storage.mkdir("runs")
    return f"s3://runs/{request.node.name.partition('[')[0]}"


@pytest.fixture(params=["file", "memory", "s3"])
def mirror(request: pytest.FixtureRequest, tmp_path: Path) -> Mirror:
    """On a folder, on a store of objects without folders, and on an S3 server."""
    name = request.node.name.replace("[", "-").replace("]", "")
    urls = {"file": f"file://{tmp_path}/copy", "memory": f"memory://{name}"}
    url = urls.get(request.param) or request.getfixturevalue("s3_url")
    return Mirror(url, tmp_path / "run")


def test_a_run_whose_folder_is_gone_continues_from_the_copy(mirror: Mirror) -> None:
    out = mirror.out
    for step in (2, 4, 6):
        mirror.push_checkpoint(checkpoint(out, step), keep_last=2)
    (out / "metrics.jsonl").write_text("{}\n")
    mirror.push_run_files()
    shutil.rmtree(out)

    assert mirror.fetch_run() == "step_000006"

    assert (out / "metrics.jsonl").read_text() == "{}\n"
    folder = out / "checkpoints" / "step_000006"
    assert (folder / "model.safetensors").read_bytes() == bytes(6)
    assert (folder / "inner" / "file").read_text() == "x"
    assert mirror.checkpoints() == ["step_000004", "step_000006"]
    assert mirror.fetch_run() is None, "what is here is not older"


def test_half_a_checkpoint_does_not_count(mirror: Mirror) -> None:
    mirror.push_checkpoint(checkpoint(mirror.out, 2), keep_last=2)
    half = checkpoint(mirror.out, 4)
    (half / MARKER).unlink()
    for path in half.iterdir():
        if path.is_file():
            mirror.push(path)
    shutil.rmtree(mirror.out)

    assert mirror.fetch_run() == "step_000002"
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        mirror.fetch_checkpoint("step_000004")


def test_a_store_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "run", 2)
    (tmp_path / "copy").write_text("a file in the way")
    with pytest.raises(ResourceError, match="mirror=file://"):
        Mirror(f"file://{tmp_path}/copy", tmp_path / "run").push_checkpoint(folder, keep_last=1)


def test_a_kind_of_storage_without_its_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mirror=nothing://"):
        Mirror("nothing://bucket", tmp_path)
