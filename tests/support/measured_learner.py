"""One learner process: trains a random model on rows of given sizes and prints its peak memory.

Run as `python -m tests.support.measured_learner FOLDER KIND ROW_TOKENS`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

WIDTHS: dict[str, dict[str, Any]] = {
    "small": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 12, "num_attention_heads": 4,
              "num_key_value_heads": 4, "vocab_size": 32000, "tie_word_embeddings": False},
    "medium": {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 16, "num_attention_heads": 8,
               "num_key_value_heads": 2, "vocab_size": 32000, "tie_word_embeddings": True},
    "large": {"hidden_size": 896, "intermediate_size": 2432, "num_hidden_layers": 12, "num_attention_heads": 14,
              "num_key_value_heads": 2, "vocab_size": 40000, "tie_word_embeddings": True},
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora": {}},
    "qlora": {"lora": {}, "quantisation": "4bit"},
}


def save_model(folder: Path, size: str) -> Path:
    """A random model of that size, with the tiny model's tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from medray.models.tiny import save_tiny_model

    save_tiny_model(folder)
    config = AutoConfig.for_model(
        "llama", eos_token_id=2, pad_token_id=0, max_position_embeddings=4096, **WIDTHS[size]
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def job(folder: Path, kind: str, row_tokens: int) -> Any:
    """An SFT job whose steps are two full rows."""
    from medray.config.sft import SftJob

    return SftJob.model_validate(
        {
            "model": {"path": str(folder), **KINDS[kind]},
            "chat": {"max_tokens": row_tokens},
            "learner": {"row_tokens": row_tokens},
            "batch": {"rows_per_step": 2},
        }
    )


def peak_bytes() -> int:
    """The process's largest resident size so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def main(folder: Path, kind: str, row_tokens: int) -> None:
    """Two optimizer steps of two rows each."""
    import numpy as np

    from medray.learners.learner import Learner
    from medray.learners.objectives.registry import build_objective
    from medray.models.load import load_policy
    from medray.system.cpu import use_cpu
    from medray.types import Continuation, PromptTree

    use_cpu(2)
    settings = job(folder, kind, row_tokens)
    policy = load_policy(settings.model)
    learner = Learner(policy, settings.optim, num_optim_steps=10, config=settings.learner)
    objective = build_objective("sft", settings.loss)
    rng = np.random.default_rng(0)
    nothing = np.zeros(0, np.int32)

    def row() -> PromptTree:
        trained = np.ones(row_tokens, dtype=np.bool_)
        trained[0] = False
        ids = rng.integers(3, 300, row_tokens).astype(np.int32)
        return PromptTree(nothing, (Continuation(ids, trained),))

    for _ in range(2):
        learner.train_step([row(), row()], objective)
    print(f"peak {peak_bytes()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
