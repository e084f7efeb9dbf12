"""Every file of serve_configs/ becomes an engine's settings; tokens; what is refused before anything starts."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.serve.schema import ServeDeploySchema
from typer.testing import CliRunner

from medray.cli import app as cli
from medray.config.loader import read_yaml, validated
from medray.config.serve import AuthConfig, ServeApp
from medray.config.serve_file import load_application
from medray.errors import ConfigError, ModelError, ResourceError
from medray.models.served import Adapter, Model
from medray.serve.engine import llm_config
from medray.serve.launch import Address, run
from medray.serve.tokens import digest, matching, read_tokens, token_digests
from tests.conftest import ROOT

CONFIGS = sorted((ROOT / "serve_configs").glob("*.yaml"))


def test_there_is_a_config_for_each_kind_of_machine() -> None:
    names = {path.stem for path in CONFIGS}
    assert {"chat_cpu", "chat_gpu", "chat_tensor_parallel", "chat_multi_node"} <= names


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_config_is_valid_for_ray_serve_and_for_the_engine(path: Path) -> None:
    schema = ServeDeploySchema.model_validate(read_yaml(path))
    assert schema.applications[0].import_path == "medray.serve.app:build_app"
    app = load_application(path)
    for served in app.models:
        config = llm_config(served, Model("m", "org/model", ()), max_new_tokens=8)
        engine = config.get_engine_config()
        kwargs = engine.get_initialization_kwargs()
        assert kwargs["override_generation_config"] == {"max_new_tokens": 8}
        assert engine.num_devices == served.engine.tensor_parallel * served.pipeline_parallel
        gpus = sum(bundle.get("GPU", 0) for bundle in engine.placement_bundles)
        assert gpus == (engine.num_devices if served.device == "cuda" else 0)
        if served.replicas.max > served.replicas.min:
            scaling = config.deployment_config["autoscaling_config"]
            assert scaling["max_replicas"] == served.replicas.max


def test_only_the_multi_node_config_listens_beyond_loopback() -> None:
    hosts = {p.stem: read_yaml(p)["http_options"]["host"] for p in CONFIGS}
    assert [stem for stem, host in hosts.items() if host != "127.0.0.1"] == ["chat_multi_node"]
    assert load_application(ROOT / "serve_configs/chat_multi_node.yaml").auth.enabled


def test_adapters_set_the_engine_up_for_lora(tmp_path: Path) -> None:
    app = ServeApp.model_validate({"models": [{"path": "x"}]})
    adapters = (Adapter("a", tmp_path / "a", 12), Adapter("b", tmp_path / "b", 4))
    kwargs = llm_config(app.models[0], Model("m", "x", adapters), max_new_tokens=8).engine_kwargs
    assert (kwargs["max_lora_rank"], kwargs["max_loras"]) == (16, 2)
    assert [m["name"] for m in kwargs["lora_modules"]] == ["a", "b"]


def test_quantised_weights_choose_dtype_and_plug_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = ServeApp.model_validate({"models": [{"path": "x"}]}).models[0]
    config = {"quantization_config": {"quant_method": "bitsandbytes"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = Model("m", str(tmp_path), ())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    made = llm_config(served, model, max_new_tokens=8)
    assert made.engine_kwargs["dtype"] == "bfloat16"
    assert made.runtime_env is not None
    assert made.runtime_env["env_vars"]["VLLM_PLUGINS"] == "bitsandbytes"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"constraints/bitsandbytes\.txt"):
        llm_config(served, model, max_new_tokens=8)
    whole = llm_config(served, Model("m", "org/model", ()), max_new_tokens=8)
    assert whole.engine_kwargs["dtype"] == "float32"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"models": []}, "models"),
        ({"models": [{"path": "x", "engine": {"tensor_parallel": 2}}]}, "device=cuda"),
        ({"models": [{"path": "x", "accelerator": "H100"}]}, "device=cuda"),
        ({"models": [{"path": "x", "replicas": {"min": 3, "max": 2}}]}, "raise max"),
        ({"models": [{"path": "x", "name": "a b"}]}, "models.0.name"),
        ({"models": [{"path": "x"}], "limit": {}}, "limits"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validated(ServeApp, settings)


def test_an_open_address_needs_authentication() -> None:
    app = ServeApp.model_validate({"models": [{"path": "x"}], "auth": {"enabled": False}})
    with pytest.raises(ConfigError, match="this machine only"):
        run(app, Address("0.0.0.0"), follow_s=None, report=print)


def test_a_taken_port_is_named(tiny_model: Path) -> None:
    import socket

    app = ServeApp.model_validate({"models": [{"path": str(tiny_model)}]})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ResourceError, match="--port"):
            run(app, Address(port=taken.getsockname()[1]), follow_s=None, report=print)


def test_the_token_file_is_made_once_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDRAY_SERVE_TOKEN", raising=False)
    auth = AuthConfig(token_file=str(tmp_path / "made" / "token"))
    with pytest.raises(ConfigError, match="MEDRAY_SERVE_TOKEN"):
        read_tokens(auth)
    first = token_digests(auth, create=True)
    assert first == token_digests(auth, create=True)
    assert stat.S_IMODE((tmp_path / "made" / "token").stat().st_mode) == 0o600
    assert matching(read_tokens(auth)[0], first) == first[0]


def test_tokens_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDRAY_SERVE_TOKEN", "first-token-0123456789, second-token-0123456789")
    digests = token_digests(AuthConfig())
    assert digests[1] == digest("second-token-0123456789")
    assert matching("other", digests) is None
    monkeypatch.setenv("MEDRAY_SERVE_TOKEN", "short")
    with pytest.raises(ConfigError, match="at least 16"):
        token_digests(AuthConfig())
    assert token_digests(AuthConfig(enabled=False)) == ()


def test_a_bad_token_is_told_before_anything_starts(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDRAY_SERVE_TOKEN", "short")
    app = ServeApp.model_validate({"models": [{"path": str(tiny_model)}]})
    told: list[str] = []
    monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("Ray was started"))
    with pytest.raises(ConfigError, match="MEDRAY_SERVE_TOKEN must hold tokens"):
        run(app, Address(port=0), follow_s=None, report=told.append)
    assert not told


def _cli(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["serve", *arguments])


def test_command_line_becomes_settings() -> None:
    done = _cli("runs/x", "safety.mode=report", "--name", "m", "--adapter", "a=b", "--dry-run")
    assert done.exit_code == 0, done.output
    shown = ServeApp.model_validate_json(done.stdout)
    assert shown.safety.mode == "report"
    assert shown.models[0].name == "m"
    assert (shown.models[0].adapters[0].name, shown.models[0].adapters[0].path) == ("a", "b")
    config = str(ROOT / "serve_configs/chat_cpu.yaml")
    shown = ServeApp.model_validate_json(
        _cli("--config", config, "models.0.path=runs/y", "--dry-run").stdout
    )
    assert shown.models[0].path == "runs/y"
    assert shown.models[0].max_model_len == 2048


@pytest.mark.parametrize("arguments", [[], ["x", "--config", "f.yaml"], ["--config", "no.yaml"]])
def test_command_line_says_what_is_missing(arguments: list[str]) -> None:
    assert isinstance(_cli(*arguments, "--dry-run").exception, ConfigError)
