"""A served model in the terms of ray.serve.llm: one vLLM engine a replica, on a CPU or on GPUs."""

from __future__ import annotations

import os
from typing import Any

from ray.serve.llm import LLMConfig

from medray.config.serve import ReplicaConfig, ServedModel
from medray.models.quantisation.quantised import engine_dtype, engine_plugins
from medray.models.served import Model
from medray.system.cpu import EAGER

STREAM_INTERVAL_MS = 0
"""Tokens travel as they become ready: to wait for others would delay each, and look at every stream all the time."""
HEALTH_PERIOD_S = 5.0
LOOK_BACK_S = (10.0, 30.0)
"""Load is averaged over a time within these: handles report every ten seconds, and less than that is noise."""
START_ATTEMPTS = 2


def llm_config(served: ServedModel, model: Model, *, max_new_tokens: int) -> LLMConfig:
    """The ray.serve.llm configuration of one model; `max_new_tokens` bounds answers that ask for no number."""
    return LLMConfig(
        model_loading_config={"model_id": model.name, "model_source": model.source},
        engine_kwargs=_engine_kwargs(served, model)
        | {"override_generation_config": {"max_new_tokens": max_new_tokens}},
        placement_group_config=_placement(served),
        accelerator_type=served.accelerator,
        runtime_env={"env_vars": _environment(served, model)},
        deployment_config=_deployment(served.replicas),
        experimental_configs={"stream_batching_interval_ms": STREAM_INTERVAL_MS},
    )


def _engine_kwargs(served: ServedModel, model: Model) -> dict[str, Any]:
    engine = served.engine
    kwargs: dict[str, Any] = {
        "dtype": engine_dtype(served.dtype, device=served.device, quantisation=model.quantisation),
        "max_num_seqs": engine.max_num_seqs,
        "enforce_eager": engine.enforce_eager,
        "enable_prefix_caching": engine.prefix_caching,
        "trust_remote_code": served.trust_remote_code,
        "enable_log_requests": False,
        # One for all: by its own choice vLLM takes that of the first request, and stumbles over the others'.
        "structured_outputs_config": {"backend": "xgrammar"},
    }
    if served.max_model_len is not None:
        kwargs["max_model_len"] = served.max_model_len
    if engine.block_tokens is not None:
        kwargs["block_size"] = engine.block_tokens
    if engine.batch_tokens is not None:
        kwargs["max_num_batched_tokens"] = engine.batch_tokens
    if served.device == "cuda":
        kwargs["gpu_memory_utilization"] = engine.gpu_memory_utilization
        kwargs["tensor_parallel_size"] = engine.tensor_parallel
        kwargs["pipeline_parallel_size"] = served.pipeline_parallel
    if model.adapters:
        kwargs["enable_lora"] = True
        kwargs["max_lora_rank"] = model.lora_rank
        kwargs["max_loras"] = len(model.adapters)
        kwargs["lora_modules"] = [
            {"name": adapter.name, "path": str(adapter.folder)} for adapter in model.adapters
        ]
    if served.tool_parser is not None:
        kwargs |= {"enable_auto_tool_choice": True, "tool_call_parser": served.tool_parser}
    if served.reasoning_parser is not None:
        kwargs["reasoning_parser"] = served.reasoning_parser
    return kwargs


def _placement(served: ServedModel) -> dict[str, Any]:
    if served.device == "cpu":
        return {"bundles": [{"CPU": served.cpus}], "strategy": served.placement}
    bundle = {"CPU": served.cpus, "GPU": 1.0}
    return {"bundle_per_worker": bundle, "strategy": served.placement}


def _environment(served: ServedModel, model: Model) -> dict[str, str]:
    """What vLLM reads from the environment; plug-ins that the weights do not need stay out of a server."""
    settings = {
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_PLUGINS": ",".join(engine_plugins(model.quantisation, model=model.name)),
        "TOKENIZERS_PARALLELISM": "false",
        "RAYLLM_ENABLE_REQUEST_PROMPT_LOGS": "0",
    }
    if served.device == "cpu":
        settings |= {
            "VLLM_CPU_KVCACHE_SPACE": str(max(1, round(served.engine.kv_cache_gb))),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(served.threads or os.cpu_count() or 1),
        }
        if served.engine.enforce_eager:
            settings |= EAGER
    return settings


def _deployment(replicas: ReplicaConfig) -> dict[str, Any]:
    options: dict[str, Any] = {
        "max_ongoing_requests": replicas.max_requests,
        "max_queued_requests": replicas.max_queued,
        "max_surge_percent": replicas.surge_percent,
        "health_check_period_s": HEALTH_PERIOD_S,
        "graceful_shutdown_timeout_s": replicas.drain_s,
        "graceful_shutdown_wait_loop_s": 1.0,
        "max_constructor_retry_count": START_ATTEMPTS,
        "ray_actor_options": {"num_cpus": 0},  # the placement group reserves what the engine takes
    }
    if replicas.max > replicas.min:
        options["autoscaling_config"] = {
            "min_replicas": replicas.min,
            "max_replicas": replicas.max,
            "target_ongoing_requests": replicas.target_requests,
            "upscale_delay_s": replicas.up_after_s,
            "downscale_delay_s": replicas.down_after_s,
            "look_back_period_s": min(max(replicas.up_after_s, LOOK_BACK_S[0]), LOOK_BACK_S[1]),
        }
    else:
        options["num_replicas"] = replicas.min
    return options
