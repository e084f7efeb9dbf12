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


def compress(
    job: QuantiseJob, source: Path | str, out: Path, calibration: Sequence[Sequence[int]]
) -> None:
    """Have `job.compressor`'s llm-compressor write the quantised weights of `source` to `out`.

    Raises:
        ModelError: it failed; `require_tools` has found it before.
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
        done = subprocess.run(
            [python, str(SCRIPT), str(path)],
            cwd=folder,  # it leaves logs where it runs
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ModelError(f"llm-compressor failed: {lines[-1] if lines else done.returncode}")
