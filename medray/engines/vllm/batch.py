"""vLLM for batch inference: a base model or an adapter on it, a list of prompts in, their answers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medray.config.generate import GenerateJob, SamplingConfig
from medray.data.templates.registry import Stops, stops_of
from medray.engines.base import Answer, Order, prompt_seed
from medray.engines.vllm.engine import prepare_environment
from medray.errors import ModelError
from medray.models.quantisation.quantised import engine_dtype, engine_plugins
from medray.models.served import Model

LORA_ID = 1


class VllmBatch:
    """One vLLM engine in this process."""

    def __init__(self, job: GenerateJob, model: Model) -> None:
        plugins = engine_plugins(model.quantisation, model=job.model)
        prepare_environment(
            job.engine, device=job.device, threads=job.workers.engine.num_threads, plugins=plugins
        )
        from vllm import LLM

        from medray.engines.vllm import seeded_sampling

        if job.device == "cpu":
            seeded_sampling.install()
        self._sampling = job.sampling
        adapter = model.adapters[0] if model.adapters else None
        self._lora: Any = None
        if adapter is not None:
            from vllm.lora.request import LoRARequest

            self._lora = LoRARequest(adapter.name, LORA_ID, str(adapter.folder))
        try:
            self._llm = LLM(**_arguments(job, model))
        except (OSError, ValueError, RuntimeError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise ModelError(
                f"vLLM cannot load model={job.model}: {' '.join(lines)[:300]}"
            ) from None
        self._stops = stops_of(self._llm.get_tokenizer(), job.sampling.stop)
        self.max_model_len = int(self._llm.llm_engine.model_config.max_model_len)

    def generate(self, orders: Sequence[Order]) -> list[list[Answer]]:
        """The answers to each order, `samples` of them; the same for an order whatever stands beside it."""
        outputs = self._llm.generate(
            [{"prompt_token_ids": [int(t) for t in order.token_ids]} for order in orders],
            [_params(self._sampling, self._stops, order.position) for order in orders],
            lora_request=self._lora,
            use_tqdm=False,
        )
        return [
            [Answer(o.text, str(o.finish_reason), len(o.token_ids)) for o in output.outputs]
            for output in outputs
        ]


def _params(sampling: SamplingConfig, stops: Stops, position: int) -> Any:
    from vllm import SamplingParams

    return SamplingParams(
        n=sampling.samples,
        max_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        stop=list(stops.texts) or None,
        stop_token_ids=list(stops.token_ids) or None,
        seed=prompt_seed(sampling.seed, position) if sampling.temperature > 0 else None,
    )


def _arguments(job: GenerateJob, model: Model) -> dict[str, Any]:
    limit = model.max_positions
    max_model_len = min(job.max_model_len, limit) if limit else job.max_model_len
    arguments: dict[str, Any] = {
        "model": model.source,
        "dtype": engine_dtype(job.dtype, device=job.device, quantisation=model.quantisation),
        "max_model_len": max_model_len,
        "max_num_seqs": job.engine.max_num_seqs,
        "block_size": job.engine.block,
        "max_num_batched_tokens": max(job.engine.batch, max_model_len),
        "enforce_eager": job.engine.enforce_eager,
        "enable_prefix_caching": job.engine.prefix_caching,
        # A prompt cut into chunks makes vLLM rewind a seeded generator, which CPU generators cannot.
        "enable_chunked_prefill": job.device != "cpu",
        "trust_remote_code": job.trust_remote_code,
        "disable_log_stats": True,
        "seed": job.sampling.seed,
    }
    if job.device == "cuda":
        arguments["gpu_memory_utilization"] = job.engine.gpu_memory_utilization
        arguments["tensor_parallel_size"] = job.engine.tensor_parallel
    if model.adapters:
        arguments |= {"enable_lora": True, "max_lora_rank": model.lora_rank, "max_loras": 1}
    return arguments
