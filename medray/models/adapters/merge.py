"""An adapter and its base as one model that anything can load."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from medray.config.model import ModelConfig
from medray.models.adapters.chain import adapter_chain, require_mergeable
from medray.models.adapters.folder import task_of
from medray.models.checkpoints.saving import save_model
from medray.models.hf_logging import silent_hf
from medray.models.load import load_policy, load_reward_model
from medray.storage.atomic import replace_dir, temporary_beside
from medray.types import dtype_name


def merge_adapter(adapter: Path, out: Path, *, dtype: str | None = None) -> Path:
    """Write the model that an adapter and its base make together, with its tokenizer, in Hugging Face layout.

    A causal adapter gives a causal model, a reward model's adapter a reward model. Weights are added in float32
    (4 bytes a parameter of memory) and rounded once.

    Args:
        adapter: folder that `save_pretrained` of an adapter, or a checkpoint of a LoRA run, wrote.
        out: folder to write, whole or not at all; it must not exist.
        dtype: of the weights written: float32, bfloat16 or float16; None takes the base's.

    Raises:
        ModelError: `adapter` holds no adapter, or its base is missing.
        ConfigError: `out` exists, or cannot be written.
    """
    require_mergeable(adapter, out)
    load = load_reward_model if task_of(adapter) == "SEQ_CLS" else load_policy
    model = load(ModelConfig(path=str(adapter), attention="plain"), trainable=False)
    module: Any = model.module
    module.to(dtype=getattr(torch, dtype or _dtype_of(adapter)))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary_beside(out)
    try:
        with silent_hf():
            save_model(module, partial)
        model.tokenizer.save_pretrained(partial)
        replace_dir(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _dtype_of(adapter: Path) -> str:
    from transformers import AutoConfig

    weights = adapter_chain(str(adapter)).weights
    dtype = AutoConfig.from_pretrained(weights).get_text_config().dtype
    return dtype_name(dtype or torch.float32)
