"""vLLM that only reads: the most likely tokens of a teacher in the place of each that a student sampled."""

from __future__ import annotations

from typing import Any

import numpy as np

from medray.config.policy import DistillConfig
from medray.config.rollout import EngineConfig
from medray.engines.vllm.engine import prepare_environment, reason
from medray.errors import ModelError
from medray.models.adapters.chain import adapter_chain
from medray.models.tokenizer import max_positions
from medray.types import RolloutGroup, TopTokens


class VllmTeacher:
    """One vLLM engine of a frozen model in this process."""

    def __init__(
        self, distill: DistillConfig, config: EngineConfig, *, max_tokens: int, threads: int
    ) -> None:
        """Load the teacher.

        Args:
            distill: who it is, and how many of its tokens are asked for.
            config: how vLLM runs.
            max_tokens: of the longest prompt and response together.
            threads: compute threads on a CPU.

        Raises:
            ModelError: vLLM cannot load it, it is an adapter, or it has too few positions.
        """
        model, self.top = distill.teacher, distill.top
        chain = adapter_chain(model.path)
        if chain.adapters:
            raise ModelError(
                f"algorithm.distill.teacher.path={model.path} is an adapter: merge it first (medray merge "
                f"{model.path} OUT), or set algorithm.distill.engine=learner"
            )
        limit = max_positions(model)
        if limit is not None and max_tokens >= limit:
            raise ModelError(
                f"algorithm.distill.teacher.path={model.path} has {limit} positions, and a prompt with its response "
                f"may take {max_tokens} tokens: lower data.max_prompt_tokens or rollout.max_new_tokens"
            )
        prepare_environment(config, device=model.device, threads=threads)
        from vllm import LLM

        gpu = {}
        if model.device == "cuda":
            gpu = {
                "gpu_memory_utilization": config.gpu_memory_utilization,
                "tensor_parallel_size": config.tensor_parallel,
            }
        try:
            self._llm = LLM(
                model=str(chain.weights),
                revision=model.revision,
                dtype=model.dtype,
                max_model_len=max_tokens + 1,  # vLLM draws a token from whatever it reads
                max_num_seqs=config.max_num_seqs,
                max_num_batched_tokens=max(config.batch, max_tokens + 1),
                block_size=config.block,
                enforce_eager=config.enforce_eager,
                enable_prefix_caching=False,  # positions that a cache answers have no probabilities
                enable_chunked_prefill=model.device != "cpu",
                max_logprobs=self.top,
                trust_remote_code=model.trust_remote_code,
                disable_log_stats=True,
                **gpu,
            )
        except (OSError, ValueError) as error:
            path = f"algorithm.distill.teacher.path={model.path}"
            raise ModelError(f"vLLM cannot load {path}: {reason(error)}") from None

    def top_tokens(self, group: RolloutGroup) -> list[TopTokens]:
        """For each response, the `top` most likely tokens in the place of each that was sampled."""
        from vllm import SamplingParams

        prompt = group.prompt.token_ids.tolist()
        params = SamplingParams(
            max_tokens=1, prompt_logprobs=self.top, flat_logprobs=True, detokenize=False
        )
        outputs = self._llm.generate(
            [{"prompt_token_ids": prompt + r.token_ids.tolist()} for r in group.responses],
            params,
            use_tqdm=False,
        )
        taught: list[TopTokens] = []
        for response, output in zip(group.responses, outputs, strict=True):
            known: Any = output.prompt_logprobs  # vLLM's FlatLogprobs
            first = np.asarray(known.start_indices[len(prompt) :])
            if response.sampled is not None:
                first = first[response.sampled]
            # The first of a position is the token that stands there; the likeliest follow.
            at = first[:, None] + 1 + np.arange(self.top)
            ids = np.asarray(known.token_ids, dtype=np.int32)[at]
            taught.append(TopTokens(ids, np.asarray(known.logprobs, dtype=np.float32)[at]))
        return taught
