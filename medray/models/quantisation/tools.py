"""What quantisation needs besides medray, looked for before torch is imported and anything is measured."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from medray.config.quantise import COMPRESSED, QuantiseJob
from medray.errors import ModelError

PACKAGE = "llmcompressor==0.14.0.1"
_LOOK = "import importlib.util, sys; sys.exit(importlib.util.find_spec('llmcompressor') is None)"


def require_tools(job: QuantiseJob) -> None:
    """Look for what `job.method` needs, without importing it, which takes a while.

    Raises:
        ModelError: `job.compressor` does not run, or a library is missing.
    """
    if job.method in COMPRESSED:
        _require_compressor(job)
    elif importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f"method={job.method} needs bitsandbytes: pip install --no-deps -r constraints/bitsandbytes.txt"
        )


def _require_compressor(job: QuantiseJob) -> None:
    python = job.compressor or sys.executable
    try:
        found = subprocess.run([python, "-c", _LOOK], capture_output=True, check=False)
    except OSError as error:
        raise ModelError(
            f"compressor={python} does not run ({error.strerror}): name the Python of an environment that has "
            "llm-compressor"
        ) from None
    if found.returncode != 0:
        raise ModelError(
            f"method={job.method} needs llm-compressor, which {python} lacks: python3.11 -m venv compressor && "
            f"compressor/bin/pip install {PACKAGE}, then add compressor=compressor/bin/python"
        )
