"""cluster.yaml and deploy/ describe one cluster: every way of starting it gives the same nodes, token and versions."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PLACES = ("one", "own", "aws", "gcp")


def cluster(place: str) -> dict[str, Any]:
    """cluster.yaml with the edit that its head tells for `place` made."""
    text = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
    if place != "one":
        text = re.sub(r".*#one\n", "", text)  # sed '/#one$/d'
        text = re.sub(rf"^#{place} ", "", text, flags=re.MULTILINE)
    return yaml.safe_load(text)


def manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / name).read_text(encoding="utf-8"))


def ray_cluster(name: str) -> dict[str, Any]:
    spec = manifest(name)["spec"]
    return spec.get("rayClusterSpec") or spec["rayClusterConfig"]


@pytest.mark.parametrize("place", PLACES)
def test_ray_accepts_the_file_for_every_place(place: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(cluster(place))

    validate_config(prepared)
    assert prepared["head_node_type"] in prepared["available_node_types"]


@pytest.mark.parametrize("place", PLACES)
def test_every_place_turns_tokens_on_and_keeps_runs(place: str) -> None:
    found = cluster(place)

    for command in (found["head_start_ray_commands"][-1], found["worker_start_ray_commands"][-1]):
        assert "RAY_AUTH_MODE=token" in command
        assert "MEDRAY_RUNS=" in command
    assert "--dashboard-host=127.0.0.1" in found["head_start_ray_commands"][-1]
    assert "~/.ray/auth_token" in found["file_mounts"]
    assert any("scripts/setup.py" in command for command in found["setup_commands"])


def test_clouds_have_the_same_kinds_of_nodes() -> None:
    aws, gcp = (cluster(place)["available_node_types"] for place in ("aws", "gcp"))

    def shape(types: dict[str, Any]) -> dict[str, Any]:
        keys = ("resources", "min_workers", "max_workers")
        return {name: {k: node.get(k) for k in keys} for name, node in types.items()}

    assert shape(aws) == shape(gcp)
    assert "GPU" not in aws["head"]["resources"]
    assert cluster("aws")["max_workers"] == sum(n.get("max_workers", 0) for n in aws.values())


def test_kubernetes_has_the_nodes_of_the_clouds() -> None:
    nodes = cluster("aws")["available_node_types"]
    groups = {g["groupName"]: g for g in ray_cluster("rayjob.yaml")["workerGroupSpecs"]}

    assert set(groups) == set(nodes) - {"head"}
    for name, group in groups.items():
        assert (group["minReplicas"], group["maxReplicas"]) == (
            nodes[name]["min_workers"],
            nodes[name]["max_workers"],
        )
        assert resources(group["rayStartParams"]) == nodes[name]["resources"]
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert float(limits["cpu"]) == nodes[name]["resources"]["CPU"]
        assert float(limits["nvidia.com/gpu"]) == nodes[name]["resources"]["GPU"]
    head = ray_cluster("rayjob.yaml")["headGroupSpec"]["rayStartParams"]
    assert float(head["num-cpus"]) == nodes["head"]["resources"]["CPU"]


def resources(start: dict[str, str]) -> dict[str, float]:
    """Ray resources of a worker group, the custom ones unquoted as KubeRay's shell does."""
    custom = json.loads(json.loads(start["resources"])) if "resources" in start else {}
    return {"CPU": float(start["num-cpus"]), "GPU": float(start["num-gpus"])} | custom


@pytest.mark.parametrize("name", ["rayjob.yaml", "rayservice.yaml"])
def test_manifests_pin_rays_version_and_turn_tokens_on(name: str) -> None:
    spec, version = ray_cluster(name), metadata.version("ray")

    assert spec["rayVersion"] == version
    assert spec["authOptions"] == {"mode": "token"}
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        [container] = pod["containers"]
        assert container["image"] == f"medray:{version}"
        mounts = {m["mountPath"] for m in container["volumeMounts"]}
        assert {"/shared", "/dev/shm"} <= mounts, "Ray's object store needs more than a pod's 64 MB"
        assert {v["name"] for v in pod["volumes"]} == {m["name"] for m in container["volumeMounts"]}
        assert {"name": "MEDRAY_RUNS", "value": "/shared/runs"} in container["env"]
    assert f"rayproject/ray:{version}-py311" in (ROOT / "deploy" / "Dockerfile").read_text()


def test_the_rayjob_runs_a_job_of_this_project() -> None:
    words = manifest("rayjob.yaml")["spec"]["entrypoint"].split()

    assert (ROOT / words[1]).is_file()
    assert (ROOT / words[words.index("--config") + 1]).is_file()


def test_the_rayservice_serves_what_the_serve_config_says() -> None:
    path = ROOT / "serve_configs" / "chat_gpu.yaml"
    if not path.is_file():
        pytest.skip("serve_configs/chat_gpu.yaml is not there")
    own = yaml.safe_load(path.read_text())["applications"]
    served = yaml.safe_load(manifest("rayservice.yaml")["spec"]["serveConfigV2"])["applications"]

    for application in (*own, *served):
        for model in application["args"]["models"]:
            model["path"] = Path(model["path"]).name  # a run folder, wherever runs are kept
    assert served == own
