"""GPU memory of supervised fine-tuning by size of model and kind of training, computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medray.config.learner import LearnerConfig
from medray.config.model import LoraConfig, ModelConfig
from medray.planning.memory import learner_memory
from medray.planning.shape import ActivationBytes, ModelShape, activation_bytes, model_shape
from medray.planning.tokens import RowSize
from medray.system.units import GIB

KINDS: dict[str, dict[str, Any]] = {
    "full": {},
    "LoRA": {"lora": LoraConfig()},
    "8-bit LoRA": {"lora": LoraConfig(), "quantisation": "8bit"},
    "QLoRA": {"lora": LoraConfig(), "quantisation": "4bit"},
}
SIZES: dict[str, dict[str, Any]] = {
    # Widths of the Qwen2.5 family (arXiv:2412.15115, table 1), and of Llama 3.1 70B (arXiv:2407.21783, table 3).
    "0.5B": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
    "1.5B": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
             "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
    "3B": {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
           "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
    "7B": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False},
    "14B": {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 48, "num_attention_heads": 40,
            "num_key_value_heads": 8, "vocab_size": 152064, "tie_word_embeddings": False},
    "32B": {"hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 40,
            "num_key_value_heads": 8, "vocab_size": 152064, "tie_word_embeddings": False},
    "70B": {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
            "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False},
}  # fmt: skip


@dataclass(frozen=True)
class TableRow:
    """Memory estimates for one model size."""

    size: str
    num_params: int
    gib: dict[str, float]  # kind -> GiB on one GPU


def table(num_tokens: int = 2048, sizes: tuple[str, ...] = tuple(SIZES)) -> Iterator[TableRow]:
    """GiB of one GPU, bfloat16, gradient checkpointing, one row of `num_tokens` at a time."""
    from transformers import AutoConfig

    row = RowSize(1, 0, 1, num_tokens, True)
    for name in sizes:
        own = AutoConfig.for_model("qwen2" if name != "70B" else "llama", **SIZES[name])
        found: dict[str, float] = {}
        counted: dict[bool, tuple[ModelShape, ActivationBytes]] = {}  # adapters or not
        for kind, held in KINDS.items():
            config = ModelConfig(
                dtype="bfloat16", device="cuda", gradient_checkpointing=True, **held
            )
            adapted = config.lora is not None
            if adapted not in counted:
                kept = activation_bytes(own, config, row, "bfloat16")
                counted[adapted] = (model_shape(own, config), kept)
            learner = LearnerConfig(row_tokens=num_tokens)
            found[kind] = learner_memory(*counted[adapted], row, config, learner).device_bytes / GIB
        yield TableRow(name, counted[False][0].num_params, found)
