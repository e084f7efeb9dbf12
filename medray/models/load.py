"""Loading a model in the form a job asks for: dtype, quantisation, adapters, attention."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    PreTrainedModel,
)

from medray.config.model import ModelConfig
from medray.errors import ModelError, ResourceError, first_line
from medray.models.adapters.chain import adapter_chain
from medray.models.adapters.lora import (
    add_adapter,
    continue_adapter,
    fit_embeddings,
    fold_adapter,
)
from medray.models.attention import flex
from medray.models.attention import shared_prefix as attention
from medray.models.attention.probe import check_head, choose_sharing
from medray.models.attention.rope import scale_rope
from medray.models.hf_logging import silent_hf
from medray.models.packed import PackedModel, PolicyModel
from medray.models.reward.head import require_score_head
from medray.models.reward.model import RewardModel, prepare_scalar_head
from medray.models.tokenizer import add_stops, load_tokenizer

__all__ = ["PolicyModel", "RewardModel", "load_policy", "load_reward_model"]

M = TypeVar("M", bound=PackedModel)
SCORE = "score.weight"
"""The one weight that may be missing: a language model has no scalar head yet."""
DROPOUT_KEYS = (
    "attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop", "hidden_dropout", "hidden_dropout_prob",
    "attention_probs_dropout_prob", "residual_dropout", "embedding_dropout", "dropout", "activation_dropout",
)  # fmt: skip


@dataclass(frozen=True)
class WeightFiles:
    """Where the weights come from: whole ones, and adapters to merge into them or to train further."""

    weights: Path | str
    merged: tuple[Path, ...]
    continued: Path | str | None


def load_policy(
    config: ModelConfig,
    *,
    seed: int = 0,
    trainable: bool = True,
    checkpoint: str | None = None,
    on_host: bool = False,
) -> PolicyModel:
    """Load the model in the form `config` asks for, with the weights or the adapter of `checkpoint` if given.

    With `on_host` it stays in CPU memory, for a strategy that moves each rank's share by itself.

    Raises:
        ModelError: missing or damaged files, or an architecture the settings do not fit.
        ResourceError: a GPU is asked for and there is none.
    """
    return _load(PolicyModel, AutoModelForCausalLM, config, seed, trainable, checkpoint, on_host)


def load_reward_model(
    config: ModelConfig,
    *,
    seed: int = 0,
    trainable: bool = True,
    checkpoint: str | None = None,
    on_host: bool = False,
    new_head: bool = True,
) -> RewardModel:
    """Load a model with a scalar head; a language model gets a new head, drawn from `seed`, where `new_head`.

    The other arguments are those of `load_policy`.

    Raises:
        ModelError: as `load_policy`, transformers has no classifier for the architecture, or a head is missing.
        ResourceError: a GPU is asked for and there is none.
    """
    if not new_head:
        require_score_head(config.path)
    return _load(
        RewardModel,
        AutoModelForSequenceClassification,
        config,
        seed,
        trainable,
        checkpoint,
        on_host,
    )


def _load(
    kind: type[M],
    auto: Any,
    config: ModelConfig,
    seed: int,
    trainable: bool,
    checkpoint: str | None,
    on_host: bool,
) -> M:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ResourceError(
            "model.device=cuda, but no GPU is visible: set model.device=cpu, or workers.learner.gpus above 0"
        )
    torch.manual_seed(seed)
    attention.register()
    flex.register()
    files = _weight_files(config, checkpoint)
    tokenizer = load_tokenizer(config)
    module = _build(auto, files, config, tokenizer, trainable)
    if config.template is not None:
        add_stops(module, tokenizer, config.template)
    resized = fit_embeddings(module, tokenizer)
    for adapter in files.merged:
        module = fold_adapter(module, adapter)
    if config.quantisation == "none" and not on_host:
        module.to(torch.device(config.device))  # type: ignore[arg-type]
    _switch_off_dropout(module)
    _keep_storage(module)
    module.eval()
    if trainable and config.lora is None:
        _freeze_as_designed(module)
    else:
        module.requires_grad_(False)
    model = kind(module, tokenizer, config)
    if isinstance(model, PolicyModel):
        check_head(model)
    model.sharing = choose_sharing(model)
    if trainable and config.lora is not None:
        if files.continued is not None:
            model.adapter = continue_adapter(module, files.continued)
        else:
            model.adapter = add_adapter(module, config.lora, resized=resized)
        module.eval()
    if config.gradient_checkpointing and trainable:
        module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def _weight_files(config: ModelConfig, checkpoint: str | None) -> WeightFiles:
    if checkpoint is not None and config.lora is None:
        return WeightFiles(checkpoint, (), None)
    chain = adapter_chain(config.path)
    if chain.adapters and config.quantisation != "none":
        raise ModelError(
            f"model.path={config.path} is an adapter, and merging it into a quantized base loses precision: "
            "run `medray merge` first, or set model.quantisation=none"
        )
    return WeightFiles(chain.weights, chain.adapters, checkpoint or config.adapter)


def _build(
    auto: Any, files: WeightFiles, config: ModelConfig, tokenizer: Any, trainable: bool
) -> PreTrainedModel:
    common: dict[str, Any] = {
        "revision": None if files.merged else config.revision,
        "trust_remote_code": config.trust_remote_code,
    }
    try:
        hf_config = AutoConfig.from_pretrained(files.weights, **common)
        for key in DROPOUT_KEYS:
            if isinstance(getattr(hf_config, key, None), int | float):
                setattr(hf_config, key, 0.0)
        if config.rope is not None:
            scale_rope(hf_config, config.rope)
        if auto is AutoModelForSequenceClassification:
            prepare_scalar_head(hf_config, tokenizer)
        text = hf_config.get_text_config()
        # Fused attention kernels leave out the cap on scores; the model's own code does not.
        capped = getattr(text, "attn_logit_softcapping", None) is not None
        with silent_hf():  # what is missing is checked below
            module, report = auto.from_pretrained(
                files.weights,
                config=hf_config,
                dtype=getattr(torch, _held_dtype(config, trainable)),
                attn_implementation="eager" if capped else None,
                quantization_config=_quantisation(config),
                output_loading_info=True,
                **common,
            )
    except (OSError, ValueError) as error:
        raise ModelError(f"model.path={config.path}: {first_line(error)}") from None
    missing = sorted(set(report["missing_keys"]) - {SCORE})
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ModelError(f"model.path={config.path}: {len(missing)} weights are missing ({shown})")
    return module


def _held_dtype(config: ModelConfig, trainable: bool) -> str:
    # Full fine-tuning keeps float32 masters: a bf16 weight swallows updates below its last bit.
    return "float32" if trainable and config.lora is None else config.dtype


def _quantisation(config: ModelConfig) -> BitsAndBytesConfig | None:
    if config.quantisation == "none":
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(f"model.quantisation={config.quantisation} needs the bitsandbytes package")
    if config.quantisation == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, config.dtype),
    )


def _freeze_as_designed(module: nn.Module) -> None:
    """Freeze the parameters that the architecture's own code freezes, such as a router's correction bias.

    `from_pretrained` of transformers 5.19 returns every parameter with `requires_grad=True`.
    """
    with torch.device("meta"):
        made = type(module)(cast(Any, module).config)
    own = dict(module.named_parameters())
    for name, parameter in made.named_parameters():
        if not parameter.requires_grad and name in own:
            own[name].requires_grad_(False)


def _keep_storage(module: nn.Module) -> None:
    """Stop bitsandbytes from repacking 4-bit weights at the first inference on CPUs with AVX512-BF16.

    The packed layout (bitsandbytes-foundation/bitsandbytes#1804) rounds scales to bfloat16 and cannot be dequantized to
    the weights that are trained.
    """
    for child in module.modules():
        if hasattr(child, "support_avx512bf16_for_cpu"):
            cast(Any, child).support_avx512bf16_for_cpu = False


def _switch_off_dropout(module: nn.Module) -> None:
    for child in module.modules():
        if isinstance(child, nn.Dropout):
            child.p = 0.0
