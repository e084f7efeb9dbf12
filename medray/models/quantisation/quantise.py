"""Writing a model with fewer bits a weight, in Hugging Face layout."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from medray.config.quantise import COMPRESSED, QuantiseJob
from medray.errors import ModelError, first_line
from medray.models.adapters.folder import is_adapter, task_of
from medray.models.adapters.merge import merge_adapter
from medray.models.checkpoints.saving import save_model
from medray.models.hf_logging import silent_hf
from medray.models.quantisation.compressor import compress
from medray.models.served import Model, locate, require_language_model
from medray.storage.atomic import replace_dir, temporary_beside


def dense_source(job: QuantiseJob, folder: Path) -> Path | str:
    """The whole-precision model to start from; an adapter is merged into `folder`.

    Raises:
        ModelError: it is missing, no language model, or quantised already.
    """
    source = locate(job.model, "model")
    if isinstance(source, Path) and is_adapter(source):
        if task_of(source) == "SEQ_CLS":
            raise ModelError(
                f"model={job.model} belongs to a reward model: only language models can be quantized"
            )
        return merge_adapter(source, folder)
    if isinstance(source, Path):
        require_language_model(source)
        if (found := Model("", str(source), ()).quantisation) is not None:
            raise ModelError(
                f"model={job.model} is already quantized ({found}): use the original weights"
            )
    return source


def write_quantised(
    job: QuantiseJob, source: Path | str, tokenizer: Any, calibration: Sequence[Sequence[int]]
) -> Path:
    """Quantise `source` into `job.out`, whole or not at all.

    Args:
        job: how.
        source: folder or hub id of the whole-precision model.
        tokenizer: saved beside it.
        calibration: token ids of documents, for gptq and awq.

    Raises:
        ModelError: the model cannot be loaded or quantised.
    """
    out = Path(job.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary_beside(out)
    try:
        if job.method in COMPRESSED:
            compress(job, source, partial, calibration)
        else:
            _with_bitsandbytes(job, source, partial)
        tokenizer.save_pretrained(partial)
        replace_dir(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def load_measured(source: Path | str, job: QuantiseJob) -> Any:
    """The model at `source` on `job.device` in its compute dtype, ready to score.

    Raises:
        ModelError: transformers cannot load it.
    """
    from transformers import AutoModelForCausalLM

    try:
        with silent_hf():
            model = AutoModelForCausalLM.from_pretrained(
                source,
                dtype=compute_dtype(job),
                device_map=None if job.device == "cpu" else job.device,
                trust_remote_code=job.trust_remote_code,
            )
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"{source}: {first_line(error)}") from None
    return model.eval()


def compute_dtype(job: QuantiseJob) -> torch.dtype:
    """What the weights are computed in: float32 on a CPU, bfloat16 on a GPU."""
    return torch.float32 if job.device == "cpu" else torch.bfloat16


def _with_bitsandbytes(job: QuantiseJob, source: Path | str, out: Path) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    settings = BitsAndBytesConfig(load_in_8bit=True)
    if job.method == "4bit":
        settings = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute_dtype(job),
        )
    try:
        with silent_hf():
            model = AutoModelForCausalLM.from_pretrained(
                source,
                dtype=compute_dtype(job),
                quantization_config=settings,
                device_map=job.device,
                trust_remote_code=job.trust_remote_code,
            )
            save_model(model, out)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"model={job.model}: {first_line(error)}") from None
