"""A vLLM engine and a learner, a weight sync between them, and a few samples: in a process of its own.

A tiny random model, so that it takes half a minute and no download. Run as `python -m medray.doctor.smoke`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medray.doctor.finding import Finding, error, ok

DEADLINE_S = 240.0
TOLERANCE = 1e-3


def check_smoke(command: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Run the smoke and report what it measured, or the last thing it said."""
    run = list(command) or [sys.executable, "-m", "medray.doctor.smoke"]
    try:
        done = subprocess.run(run, capture_output=True, text=True, timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        yield error(
            "smoke", f"vLLM did not answer within {DEADLINE_S:.0f} s", "rollout workers cannot start",
            "see the output of `python -m medray.doctor.smoke`",
        )  # fmt: skip
        return
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        yield error(
            "smoke", f"vLLM, the learner or the weight sync failed: {said}", "GRPO jobs cannot run",
            "see the output of `python -m medray.doctor.smoke`; `make setup` installs the tested versions",
        )  # fmt: skip
        return
    seen: dict[str, float] = json.loads(lines[-1])
    yield ok(
        "smoke",
        f"vLLM loads in {seen['load_s']:.0f} s, a weight sync takes {seen['sync_s']:.1f} s with a "
        "log-probability gap of "
        f"{seen['gap_nats']:.1e} nats, sampling runs at {seen['tokens_per_s']:.0f} tokens/s (tiny model)",
    )


def smoke(folder: Path) -> dict[str, float]:
    """Load, sync, sample.

    Returns:
        `load_s` and `sync_s` (seconds), `gap_nats`, `tokens_per_s`.

    Raises:
        WeightSyncError: engine and learner do not agree afterwards.
    """
    import torch

    from medray.config.learner import LearnerConfig
    from medray.config.model import ModelConfig
    from medray.config.rollout import EngineConfig
    from medray.engines.build import engine_kind
    from medray.engines.kind import EngineStart
    from medray.learners.scorer import Scorer
    from medray.models.load import load_policy
    from medray.models.tiny import save_tiny_model

    model = ModelConfig(path=str(save_tiny_model(folder)))
    config = EngineConfig(max_num_seqs=16)
    kind = engine_kind(config)
    kind.prepare(config, device="cpu", threads=1)
    began = time.monotonic()
    engine = kind.rollout(EngineStart(model, config, max_model_len=256))
    loaded = time.monotonic()
    policy = load_policy(model)
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.mul_(1 + 0.05 * torch.randn_like(parameter))
    scorer = Scorer(policy, config=LearnerConfig())
    synced = time.monotonic()
    gap = engine.load_weights(*_delivery(scorer), tolerance=TOLERANCE)
    sampled = time.monotonic()
    num_tokens = _sample(engine, policy.tokenizer)
    return {
        "load_s": loaded - began,
        "sync_s": sampled - synced,
        "gap_nats": gap,
        "tokens_per_s": num_tokens / (time.monotonic() - sampled),
    }


def _delivery(scorer: Any) -> tuple[Any, list[tuple[str, Any]]]:
    from medray.learners.probe import make_probe
    from medray.models.checkpoints.export import delivered_weights
    from medray.types import TensorInfo, WeightManifest

    weights = [(n, t.detach().numpy()) for n, t in delivered_weights(scorer.policy)]
    infos = {n: TensorInfo(a.shape, "float32") for n, a in weights}
    return WeightManifest(1, infos, make_probe(scorer)), weights


def _sample(engine: Any, tokenizer: Any) -> int:
    import numpy as np

    from medray.types import GenerateSpec, Prompt, Record, SamplingContract

    ids = np.asarray(tokenizer("Which investigation is next?")["input_ids"], dtype=np.int32)
    prompts = [Prompt(Record(str(i), ()), ids) for i in range(4)]
    done = list(engine.generate(prompts, range(4), GenerateSpec(SamplingContract(), 4, 32)))
    return sum(len(r.token_ids) for group in done for r in group.responses)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="medray-smoke-") as place:
        print(json.dumps(smoke(Path(place))))
