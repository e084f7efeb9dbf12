"""Turn a GGUF file into a plain Hugging Face folder: safetensors, tokenizer, chat template.

`run_conversion` does it in a process of its own, which keeps the libraries' progress bars and
warnings off the caller's terminal and gives their memory back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import medray
from medray.errors import ModelError

CONVERT_S = 3600.0


def run_conversion(
    source: Path, target: Path, *, max_tokens: int, config_fixes: Mapping[str, object]
) -> None:
    """`convert_gguf` in a child process.

    Raises:
        ModelError: the file cannot be converted; carries the last line the child printed.
    """
    settings = json.dumps({"max_tokens": max_tokens, "config_fixes": dict(config_fixes)})
    command = [
        sys.executable,
        "-m",
        "medray.models.fetching.gguf",
        str(source),
        str(target),
        settings,
    ]
    package_parent = str(Path(medray.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH")]))
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=CONVERT_S,
            env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{source.name}: conversion took more than {CONVERT_S:.0f} s") from None
    if run.returncode:
        lines = run.stderr.strip().splitlines() or [f"exit code {run.returncode}"]
        raise ModelError(f"{source.name} cannot be converted: {lines[-1].strip()}")


def convert_gguf(
    source: Path, target: Path, *, max_tokens: int, config_fixes: Mapping[str, object]
) -> None:
    """Dequantize `source` to float32 and save it under `target` as a regular Hugging Face model.

    Args:
        source: the GGUF file.
        target: an existing folder.
        max_tokens: the tokenizer's `model_max_length`.
        config_fixes: config values to set over those of the GGUF header.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name)
    _forget_quantisation(model)
    for key, value in config_fixes.items():
        setattr(model.config, key, value)
    generation = model.generation_config
    generation.eos_token_id = tokenizer.eos_token_id
    generation.pad_token_id = tokenizer.pad_token_id
    generation._from_model_config = (
        False  # else `save_pretrained` regenerates it without the two ids
    )
    model.save_pretrained(target)
    tokenizer.model_max_length = max_tokens
    if _pre_tokenizer_name(source) == "smollm":
        _split_digits(tokenizer)
    tokenizer.save_pretrained(target)


def _forget_quantisation(model: Any) -> None:
    """Remove the quantization markers: the weights are floats now, but `save_pretrained` would still refuse them."""
    model.is_quantized = False
    model.hf_quantizer = None
    model.quantization_method = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _split_digits(tokenizer: Any) -> None:
    """Restore SmolLM's pre-tokenizer, which splits digits (ggml-org/llama.cpp#8609).

    transformers' GGUF reader drops it. Without it, whitespace before a number is tokenized differently than in the
    model's training.
    """
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )


def _pre_tokenizer_name(source: Path) -> str:
    from gguf import GGUFReader

    field = GGUFReader(source).get_field("tokenizer.ggml.pre")
    return str(field.contents()) if field is not None else ""


if __name__ == "__main__":
    convert_gguf(Path(sys.argv[1]), Path(sys.argv[2]), **json.loads(sys.argv[3]))
