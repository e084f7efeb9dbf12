"""Tiny random models of the families that transformers has, to be saved and loaded like real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WINDOW = 6  # shorter than the texts of the tests, so that a lost window shows

COMMON: dict[str, Any] = {
    "vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 256, "initializer_range": 0.1,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
MIXED = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 48}
LATENT = {
    "q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 24,
    "num_key_value_heads": 2, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
    "n_shared_experts": 1, **EXPERTS,
}  # fmt: skip

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen2-window": {"use_sliding_window": True, "max_window_layers": 1, "sliding_window": WINDOW},
    "qwen3": {"head_dim": 32},
    "mistral": {"sliding_window": WINDOW},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "gemma": {"head_dim": 32},
    "gemma2": {"head_dim": 32, "query_pre_attn_scalar": 32, "attn_logit_softcapping": 2.0, **MIXED},
    "gemma3_text": {"head_dim": 32, "query_pre_attn_scalar": 32, **MIXED},
    "phi": {},
    "phi3": {"sliding_window": WINDOW},
    "glm": {"head_dim": 32},
    "glm4": {"head_dim": 32},
    "glm4_moe": {"head_dim": 32, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, **EXPERTS},
    "deepseek_v2": {**LATENT, "topk_method": "greedy"},
    "deepseek_v3": LATENT,
    "minicpm3": {**LATENT},
    "cohere": {"logit_scale": 0.25},
    "cohere2": {"logit_scale": 0.25, **MIXED},
    "olmo": {},
    "olmo2": {},
    "olmo3": MIXED,
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "granite": {"logits_scaling": 4.0, "embedding_multiplier": 3.0},
    "granitemoe": {"logits_scaling": 4.0, "num_local_experts": 4, "num_experts_per_tok": 2},
    "starcoder2": {"sliding_window": WINDOW},
    "stablelm": {},
    "qwen2_moe": {"num_experts": 4, "shared_expert_intermediate_size": 48, **EXPERTS},
    "qwen3_moe": {"head_dim": 32, "num_experts": 4, **EXPERTS},
    "gpt_oss": {"head_dim": 32, "num_local_experts": 4, "num_experts_per_tok": 2, **MIXED},
    "ernie4_5": {"head_dim": 32},
    "hunyuan_v1_dense": {"head_dim": 32},
    "exaone4": {"head_dim": 32, **MIXED},
    "smollm3": {"no_rope_layers": [1, 0]},
    "seed_oss": {"head_dim": 32},
    "apertus": {},
    "arcee": {},
    "helium": {"head_dim": 32},
    "nemotron": {},
    "minimax_m2": {"head_dim": 32, "rotary_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2},
    "llama4_text": {"head_dim": 32, "num_local_experts": 2, "attention_chunk_size": WINDOW, "intermediate_size_mlp": 96,
                    "layer_types": ["chunked_attention", "full_attention"], "no_rope_layers": [1, 0]},
    "gpt_neox": {},
    "gpt2": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2, "window_size": WINDOW},
    "gptj": {"rotary_dim": 16},
    "falcon-rotary": {"alibi": False, "new_decoder_architecture": True, "num_kv_heads": 1},
    "falcon-alibi": {"alibi": True, "new_decoder_architecture": True, "num_kv_heads": 1},
    "bloom": {},
    "mpt": {"d_model": 64, "n_heads": 2, "n_layers": 2, "expansion_ratio": 2, "max_seq_len": 256},
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "qwen3_next": {"head_dim": 32, "num_experts": 4, "shared_expert_intermediate_size": 48, **EXPERTS,
                   "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 16,
                   "linear_value_head_dim": 16, "layer_types": ["linear_attention", "full_attention"]},
    "qwen3_5_text": {"head_dim": 32, "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 16,
                     "linear_value_head_dim": 16, "layer_types": ["linear_attention", "full_attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1},
    "jamba": {"num_experts": 2, "num_experts_per_tok": 1, "use_mamba_kernels": False, "attn_layer_period": 2,
              "attn_layer_offset": 1, "mamba_d_state": 8},
    "mamba2": {"num_heads": 8, "head_dim": 16, "state_size": 8, "n_groups": 1},
    "recurrent_gemma": {"lru_width": 64, "attention_window_size": WINDOW, "block_types": ["recurrent", "attention"]},
}  # fmt: skip
"""model_type -> settings beside COMMON; a suffix after "-" names a variant of the type."""


def save_family(folder: Path, name: str, tokenizer_from: Path) -> Path:
    """Write a tiny random model of the family, with the tokenizer of `tokenizer_from`, as a Hugging Face folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.for_model(name.partition("-")[0], **(COMMON | FAMILIES[name]))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_from).save_pretrained(folder)
    return folder
