"""LoRA adapters: what they are put on, started anew or continued, and folded into their base."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from medray.config.model import LoraConfig
from medray.errors import ModelError, first_line

# It tells every process of a kernel of the hub's that it could not download.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

EMBEDDINGS = "embeddings"
ROUTERS = {"router", "gate"}
"""Parts of module names that choose experts; a low-rank change of them would reroute frozen experts."""
MAMBA_TYPES = {
    "bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "mamba", "mamba2", "nemotron_h", "zamba2",
}  # fmt: skip
FUSED_IN_MAMBA = {"out_proj", "conv1d"}
"""Modules whose weights Mamba's kernels read without calling them, so that an adapter would do nothing."""


def find_linear_targets(module: nn.Module) -> list[str]:
    """Return what `lora.targets=all` means for a model: names of its linear modules as peft matches them, sorted.

    All but the output or score head, the routers of expert layers and what Mamba's kernels fuse. Experts stored as one
    tensor are no modules and stay frozen. peft takes every module whose name ends in a target, so the last part of the
    name stands for all that bear it, unless one of those must stay as it is (a layer of a list is called "2" as a
    linear module of a `Sequential` may be): then each is named in full.
    """
    kind = getattr(getattr(module, "config", None), "model_type", "")
    skipped = FUSED_IN_MAMBA if kind in MAMBA_TYPES else set()
    heads = [getattr(module, "get_output_embeddings", lambda: None)(), score_head(module)]
    wanted: dict[str, list[str]] = {}
    unwanted: set[str] = set()
    for name, child in module.named_modules():
        leaf = name.rsplit(".", 1)[-1]
        if (
            isinstance(child, nn.Linear | Conv1D)
            and not any(child is head for head in heads)
            and not ROUTERS & set(name.split("."))
            and leaf not in skipped
        ):
            wanted.setdefault(leaf, []).append(name)
        else:
            unwanted.add(leaf)
    return sorted(
        target
        for leaf, names in wanted.items()
        for target in (names if leaf in unwanted else [leaf])
    )


def score_head(module: nn.Module) -> nn.Module | None:
    """The map from hidden state to score of a sequence-classification model, None for other models."""
    head = getattr(module, "score", None)
    return head if isinstance(head, nn.Module) else None


def add_adapter(module: PreTrainedModel, lora: LoraConfig, *, resized: bool) -> Any:
    """Put new adapters on `module`, whose own weights are frozen.

    Args:
        module: modified in place.
        lora: where and how large.
        resized: the embeddings were just enlarged, so that they have rows nobody has trained.

    Raises:
        ModelError: a target does not exist, or new embedding rows would stay untrained.
    """
    import peft  # 2 s of import that full fine-tuning does not need

    targets = find_linear_targets(module) if lora.targets == "all" else list(lora.targets)
    saved = _modules_to_save(module, lora)
    if resized and EMBEDDINGS not in lora.modules_to_save:
        raise ModelError(
            "the tokenizer has more tokens than the model, and adapters alone do not train the new ones: "
            "set model.lora.modules_to_save=[embeddings]"
        )
    settings = peft.LoraConfig(
        r=lora.rank, lora_alpha=cast(int, lora.alpha), lora_dropout=lora.dropout, target_modules=targets,
        use_rslora=lora.rslora, use_dora=lora.dora, modules_to_save=saved or None,
        ensure_weight_tying=EMBEDDINGS in lora.modules_to_save and _is_tied(module), task_type=_task(module),
    )  # fmt: skip
    try:
        adapter = peft.get_peft_model(module, settings)
    except ValueError as error:
        raise ModelError(f"model.lora.targets: {first_line(error)}") from None
    return _float32_trained(adapter)


def continue_adapter(module: PreTrainedModel, folder: Path | str) -> Any:
    """Load the adapter in `folder`, to be trained further."""
    return _float32_trained(_attach(module, folder, trainable=True))


def fold_adapter(module: PreTrainedModel, folder: Path | str) -> PreTrainedModel:
    """The model that `module` and the adapter in `folder` make together, in one piece.

    It bears the folder's name, which adapters trained on it save as that of their base.
    """
    merged = cast(PreTrainedModel, _attach(module, folder, trainable=False).merge_and_unload())
    merged.name_or_path = str(folder)
    return merged


def fit_embeddings(module: PreTrainedModel, tokenizer: Any) -> bool:
    """Give every token of the tokenizer an embedding; new rows start as the mean of the old ones.

    Returns:
        Whether rows were added. A model with more rows than tokens is left as it is.
    """
    rows = cast(Any, module.get_input_embeddings()).weight.shape[0]
    if len(tokenizer) <= rows:
        return False
    module.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for layer in (module.get_input_embeddings(), module.get_output_embeddings()):
        if layer is not None:
            weight = cast(Any, layer).weight
            with torch.no_grad():
                weight[rows:] = weight[:rows].float().mean(0).to(weight.dtype)
    return True


def _attach(module: PreTrainedModel, folder: Path | str, *, trainable: bool) -> Any:
    import peft

    try:
        settings: Any = peft.PeftConfig.from_pretrained(str(folder))
        if trainable and settings.task_type != _task(module):
            raise ModelError(
                f"adapter {folder} belongs to a {settings.task_type} model and has no score head: put its folder in "
                "model.path to merge it and train a new adapter"
            )
        if not trainable:
            settings.task_type = None  # a language model's adapter fits a reward model's decoder
            names = {name.rsplit(".", 1)[-1] for name, _ in module.named_modules()}
            saved = settings.modules_to_save or ()
            settings.modules_to_save = [n for n in saved if n.rsplit(".", 1)[-1] in names] or None
        settings.inference_mode = not trainable
        return peft.PeftModel.from_pretrained(
            module, str(folder), config=settings, is_trainable=trainable
        )
    except ModelError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"adapter {folder}: {first_line(error)}") from None


def _modules_to_save(module: PreTrainedModel, lora: LoraConfig) -> list[str]:
    names = [name for name in lora.modules_to_save if name != EMBEDDINGS]
    if EMBEDDINGS in lora.modules_to_save:
        layers: list[Any] = [module.get_input_embeddings()]
        if not _is_tied(module):
            layers.append(module.get_output_embeddings())
        names += [
            name.rsplit(".", 1)[-1]
            for name, child in module.named_modules()
            if any(child is layer for layer in layers)
        ]
    known = {name.rsplit(".", 1)[-1] for name, _ in module.named_modules()}
    for name in names:
        if name not in known:
            raise ModelError(f"model.lora.modules_to_save: the model has no module named {name!r}")
    return names


def _is_tied(module: PreTrainedModel) -> bool:
    head: Any = module.get_output_embeddings()
    return head is not None and head.weight is cast(Any, module.get_input_embeddings()).weight


def _task(module: PreTrainedModel) -> str:
    return "SEQ_CLS" if score_head(module) is not None else "CAUSAL_LM"


def _float32_trained(adapter: Any) -> Any:
    # A bf16 weight swallows updates below its last bit.
    for parameter in adapter.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()
    return adapter
