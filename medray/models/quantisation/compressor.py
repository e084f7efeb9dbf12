"""llm-compressor in a process of its own: it asks for other versions of transformers than medray."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from medray.config.quantise import QuantiseJob
from medray.errors import ModelError

SCRIPT = Path(__file__).with_name("compressor_script.py")
PACKAGE = "llmcompressor==0.14.0.1"
MISSING = 3
"""Exit code of the script where llm-compressor cannot be imported."""


def require_compressor(job: QuantiseJob) -> None:
    """Look for llm-compressor without importing it, which takes a while.

    Raises:
        ModelError: `job.compressor` does not run, or lacks it.
    """
    python = job.compressor or sys.executable
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('llmcompressor') is None)"
    try:
        found = subprocess.run([python, "-c", look], capture_output=True, check=False)
    except OSError as error:
        raise ModelError(f"compressor={python} does not run ({error.strerror})") from None
    if found.returncode != 0:
        raise _missing(job, python)


def compress(
    job: QuantiseJob, source: Path | str, out: Path, calibration: Sequence[Sequence[int]]
) -> None:
    """Have `job.compressor`'s llm-compressor write the quantised weights of `source` to `out`.

    Raises:
        ModelError: llm-compressor is missing, or failed.
    """
    python = job.compressor or sys.executable
    order = {
        "method": job.method,
        "source": str(source),
        "out": str(out.resolve()),
        "device": job.device,
        "group_size": job.group_size,
        "trust_remote_code": job.trust_remote_code,
        "calibration": [list(map(int, ids)) for ids in calibration],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "order.json"
        path.write_text(json.dumps(order), encoding="utf-8")
        try:
            done = subprocess.run(
                [python, str(SCRIPT), str(path)],
                cwd=folder,  # it leaves logs where it runs
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise ModelError(f"compressor={python} does not run ({error.strerror})") from None
    if done.returncode == MISSING:
        raise _missing(job, python)
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ModelError(f"llm-compressor failed: {lines[-1] if lines else done.returncode}")


def _missing(job: QuantiseJob, python: str) -> ModelError:
    return ModelError(
        f"method={job.method} needs llm-compressor, which {python} lacks: python3.11 -m venv compressor && "
        f"compressor/bin/pip install {PACKAGE}, then add compressor=compressor/bin/python"
    )
