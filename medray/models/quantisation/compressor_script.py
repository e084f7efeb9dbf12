"""Run by compressor.py under a Python that has llm-compressor; imports nothing of medray, which may not be there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(path: str) -> None:
    """Quantise as the JSON file at `path` says."""
    order: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    import torch
    from datasets import Dataset
    from llmcompressor import oneshot  # pyright: ignore[reportMissingImports]
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(
        order["source"],
        dtype=torch.float32 if order["device"] == "cpu" else torch.bfloat16,
        device_map=order["device"],
        trust_remote_code=order["trust_remote_code"],
    )
    documents = order["calibration"]
    data: dict[str, Any] = {}
    if order["method"] != "fp8":
        columns = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in documents]
        data = {
            "dataset": Dataset.from_list(columns),
            "num_calibration_samples": len(documents),
            "max_seq_length": max(map(len, documents)),
        }
    oneshot(model=model, recipe=recipe(order["method"], order["group_size"], model), **data)
    model.save_pretrained(order["out"], save_compressed=True)


def recipe(method: str, group_size: int, model: Any) -> Any:
    """llm-compressor's settings; the output head stays as it is."""
    if method == "fp8":
        from llmcompressor.modifiers.quantization import (  # pyright: ignore[reportMissingImports]
            QuantizationModifier,
        )

        return QuantizationModifier(targets="Linear", scheme="FP8_DYNAMIC", ignore=["lm_head"])
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    weights = QuantizationArgs(
        num_bits=4,
        type="int",  # pyright: ignore[reportArgumentType]
        symmetric=method == "gptq",
        strategy="group",  # pyright: ignore[reportArgumentType]
        group_size=fitting(group_size, model),
    )
    groups = {"linear": QuantizationScheme(targets=["Linear"], weights=weights)}
    if method == "gptq":
        from llmcompressor.modifiers.gptq import (  # pyright: ignore[reportMissingImports]
            GPTQModifier,
        )

        return GPTQModifier(config_groups=groups, ignore=["lm_head"])
    from llmcompressor.modifiers.awq import AWQModifier  # pyright: ignore[reportMissingImports]

    return AWQModifier(config_groups=groups, ignore=["lm_head"])


def fitting(group_size: int, model: Any) -> int:
    """The largest half, quarter, ... of `group_size` that divides the input of every linear layer."""
    import torch

    widths = [m.in_features for m in model.modules() if isinstance(m, torch.nn.Linear)]
    while group_size > 1 and any(width % group_size for width in widths):
        group_size //= 2
    return group_size


if __name__ == "__main__":
    main(sys.argv[1])
