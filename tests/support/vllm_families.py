"""Which families vLLM loads here, found by loading a tiny model of each; run as a script it renews docs/MODELS.md.

PYTHONPATH=. .venv/bin/python -m tests.support.vllm_families        (ten minutes on two cores)
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

Support = Literal["loads", "differs", "listed", "no"]
ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "MODELS.md"
TOLERANCE = 1e-3  # nats, float32 on both sides
ROW = re.compile(r"^(\| `([\w-]+)` \|.*\| )([\w-]+)( \|)$", re.MULTILINE)


def support(folder: Path, architecture: str) -> tuple[Support, str]:
    """Load the model in vLLM, in this process, and compare log-probabilities with transformers'.

    Returns:
        loads: it does, and they agree within `TOLERANCE`. differs: they do not. listed: vLLM has the architecture, but
        does not load this model here. no: it has not. And why, in a line.
    """
    from medray.config.model import ModelConfig
    from medray.config.rollout import EngineConfig
    from medray.engines.vllm.engine import VllmEngine, prepare_environment
    from medray.learners.probe import make_probe
    from medray.learners.scorer import Scorer
    from medray.models.load import load_policy

    config = ModelConfig(path=str(folder), attention="plain")
    engine_config = EngineConfig(max_num_seqs=4)
    prepare_environment(engine_config, device="cpu", threads=1)
    from vllm import ModelRegistry

    if architecture not in ModelRegistry.get_supported_archs():
        return "no", "not in vLLM's registry"
    probe = make_probe(Scorer(load_policy(config, trainable=False)))
    try:
        engine = VllmEngine(config, engine_config, max_model_len=128)
        found, _ = engine._score_probe(probe)
    except Exception as error:
        return "listed", (str(error).strip().splitlines() or [type(error).__name__])[-1][:150]
    gap = float(abs(found - probe.logp).max())
    return ("loads" if gap <= TOLERANCE else "differs"), f"largest gap {gap:.1e} nats"


def support_apart(name: str, tokenizer_from: Path) -> tuple[Support, str]:
    """`support` of a family, in a process of its own: an engine that fails may leave things behind."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.vllm_families", name, str(tokenizer_from)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    if not lines:
        return "listed", f"the process ended with {done.returncode}"
    found, why = json.loads(lines[-1])
    return found, why


def renew_table() -> None:
    """Write what is found into the last column of the table."""
    from tests.support.families import FAMILIES
    from tests.support.tiny import save_tiny_model

    with tempfile.TemporaryDirectory() as temporary:
        tiny = save_tiny_model(Path(temporary) / "tiny")
        with ThreadPoolExecutor(os.cpu_count()) as several:
            found_all = several.map(lambda name: support_apart(name, tiny), FAMILIES)
            for name, (found, why) in zip(FAMILIES, found_all, strict=True):
                print(f"{name}: {found} ({why})", flush=True)
                text = TABLE.read_text(encoding="utf-8")
                renewed = ROW.sub(
                    lambda m, name=name, found=found: (
                        f"{m[1]}{found}{m[4]}" if m[2] == name else m[0]
                    ),
                    text,
                )
                TABLE.write_text(renewed, encoding="utf-8")


def _one(name: str, tokenizer_from: str) -> None:
    from transformers import AutoConfig

    from tests.support.families import save_family

    with tempfile.TemporaryDirectory() as temporary:
        folder = save_family(Path(temporary), name, Path(tokenizer_from))
        [architecture] = AutoConfig.from_pretrained(folder).architectures
        print("\n" + json.dumps(support(folder, architecture)), flush=True)


if __name__ == "__main__":
    _one(*sys.argv[1:]) if len(sys.argv) > 1 else renew_table()
