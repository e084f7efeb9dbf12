"""A causal language model ready to be trained on packed rows."""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from medray.config.model import LoraConfig, ModelConfig
from medray.data.packing import PackedRow
from medray.errors import ModelError, ResourceError
from medray.models import attention
from medray.models.fetch import resolve_model
from medray.models.tokenizer import load_tokenizer


@dataclass(frozen=True)
class OutputHead:
    """The linear map from hidden states to logits, and what the architecture does to the logits."""

    weight: Tensor  # [V, D]
    bias: Tensor | None  # [V]
    scale: float
    softcap: float | None


class PolicyModel:
    """A Hugging Face causal LM, its adapter if any, and the way it computes a packed row."""

    def __init__(
        self, module: PreTrainedModel, tokenizer: Any, config: ModelConfig, adapter: Any = None
    ) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.config = config
        self.adapter = adapter  # peft.PeftModel around `module`, or None
        self.uses_tree = module.config._attn_implementation == attention.TREE

    def describe(self) -> str:
        """One line for people: type, size, what is trained."""
        total = sum(p.numel() for p in self.module.parameters())
        trained = sum(p.numel() for _, p in self.trainable())
        attention_name = "shared-prefix" if self.uses_tree else "masked"
        return (
            f"{self.config.path}: {self.module.config.model_type}, {total / 1e6:,.0f}M parameters, "
            f"{trained / 1e6:,.1f}M trained, {self.config.dtype}, {attention_name} attention"
        )

    @property
    def device(self) -> torch.device:
        """Where the embeddings live; rows are sent there."""
        return next(self.module.parameters()).device

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        """Named parameters that carry gradients, in a fixed order."""
        return [
            (n, p) for n, p in (self.adapter or self.module).named_parameters() if p.requires_grad
        ]

    def without_adapter(self) -> AbstractContextManager[Any]:
        """Within this context the model is its base: the reference policy under LoRA."""
        return self.adapter.disable_adapter() if self.adapter is not None else nullcontext()

    def hidden_states(self, row: PackedRow) -> Tensor:
        """Last hidden states [T, D] of a packed row."""
        device = self.device
        extra: dict[str, Any] = (
            {"layout": attention.row_layout(row, device)}
            if self.uses_tree
            else {"attention_mask": attention.dense_mask(row, self.module.dtype, device)}
        )
        return self.module.get_decoder()(
            input_ids=torch.as_tensor(row.token_ids, device=device)[None],
            position_ids=torch.as_tensor(row.position_ids, device=device)[None],
            use_cache=False,
            **extra,
        ).last_hidden_state[0]

    def head(self) -> OutputHead:
        """The output head; its weight is the parameter itself, so gradients reach it."""
        config = self.module.config.get_text_config()
        layer: Any = self.module.get_output_embeddings()
        scale = getattr(config, "logit_scale", None) or 1.0 / (
            getattr(config, "logits_scaling", None) or 1.0
        )
        return OutputHead(
            layer.weight,
            getattr(layer, "bias", None),
            float(scale),
            getattr(config, "final_logit_softcapping", None),
        )


def load_policy(
    config: ModelConfig, *, seed: int = 0, trainable: bool = True, checkpoint: str | None = None
) -> PolicyModel:
    """Load the model in the form `config` asks for, with the weights or the adapter of `checkpoint` if given.

    Raises:
        ModelError: missing or damaged files, or an architecture the settings do not fit.
        ResourceError: a GPU is asked for and there is none.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ResourceError(
            "model.device=cuda, but this process sees no GPU: set model.device=cpu or scale.learner.gpus"
        )
    torch.manual_seed(seed)
    attention.register()
    source = checkpoint if checkpoint and config.lora is None else resolve_model(config.path)
    common: dict[str, Any] = {
        "revision": config.revision,
        "trust_remote_code": config.trust_remote_code,
    }
    try:
        hf_config = AutoConfig.from_pretrained(source, **common)
        hf_config.attention_dropout = 0.0
        module = AutoModelForCausalLM.from_pretrained(
            source,
            config=hf_config,
            dtype=getattr(torch, _held_dtype(config, trainable)),
            attn_implementation="sdpa",
            quantization_config=_quantisation(config),
            **common,
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"model.path={config.path}: {_first_line(error)}") from None
    if config.quantisation == "none":
        module.to(torch.device(config.device))  # type: ignore[arg-type]
    _choose_attention(module, config)
    _switch_off_dropout(module)
    module.requires_grad_(trainable and config.lora is None)
    adapter = (
        _add_lora(module, config, checkpoint) if trainable and config.lora is not None else None
    )
    if config.gradient_checkpointing and trainable:
        module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    module.train(trainable and config.gradient_checkpointing)
    return PolicyModel(module, load_tokenizer(config), config, adapter)


def find_linear_targets(module: nn.Module) -> list[str]:
    """Leaf names of every linear module but the output head, sorted: what `lora.targets=all` means."""
    head = getattr(module, "get_output_embeddings", lambda: None)()
    return sorted(
        {
            name.rsplit(".", 1)[-1]
            for name, child in module.named_modules()
            if isinstance(child, nn.Linear) and child is not head
        }
    )


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


def _choose_attention(module: PreTrainedModel, config: ModelConfig) -> None:
    text = module.config.get_text_config()
    own = (
        getattr(text, "attn_logit_softcapping", None) is not None
        or not module._supports_attention_backend
    )
    if config.attention == "tree" and own:
        raise ModelError(
            f"model.attention=tree does not fit {module.config.model_type}: set model.attention=dense"
        )
    if config.attention == "dense" or own:
        module.set_attn_implementation("eager" if own else "sdpa")
    else:
        module.set_attn_implementation(attention.TREE)


def _switch_off_dropout(module: nn.Module) -> None:
    for child in module.modules():
        if isinstance(child, nn.Dropout):
            child.p = 0.0


def _add_lora(module: PreTrainedModel, config: ModelConfig, checkpoint: str | None) -> Any:
    import peft  # 2 s of import that full fine-tuning does not need

    if checkpoint is not None:
        return peft.PeftModel.from_pretrained(module, checkpoint, is_trainable=True)
    lora: LoraConfig = config.lora  # type: ignore[assignment]
    targets = find_linear_targets(module) if lora.targets == "all" else list(lora.targets)
    settings = peft.LoraConfig(
        r=lora.rank, lora_alpha=cast(int, lora.alpha), lora_dropout=lora.dropout, target_modules=targets,
        use_rslora=lora.rslora, use_dora=lora.dora, task_type="CAUSAL_LM",
    )  # fmt: skip
    try:
        return peft.get_peft_model(module, settings)
    except ValueError as error:
        raise ModelError(f"model.lora.targets: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
