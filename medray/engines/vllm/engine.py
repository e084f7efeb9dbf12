"""Rollout engine on vLLM: an in-process engine, stepped by its owner, with transactional weight updates.

Stepping the engine here instead of running a server keeps sampling reproducible: requests enter in call order, and
weights change only between steps. CPU and GPU differ in `_engine_args` only.

A weight update removes running responses from vLLM, keeps their tokens, and submits them again afterwards with those
tokens as part of the prompt. The update, the cache reset and the probe therefore always see an idle engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from medray.config.model import ModelConfig
from medray.config.rollout import EngineConfig
from medray.engines.base import Generated, GroupFailed, NamedArray
from medray.engines.dialogue import Dialogues
from medray.engines.generation import Generation
from medray.engines.proof import require_agreement, require_shape, require_whole
from medray.engines.requests import Sample
from medray.engines.thoughts import Thoughts
from medray.engines.vllm.sampler import Sampler, request_params
from medray.errors import ModelError, StaleCacheError
from medray.models.adapters.chain import adapter_chain
from medray.models.tokenizer import load_tokenizer, named_stops
from medray.system.cpu import EAGER, keep_heap
from medray.types import GenerateSpec, Probe, Prompt, WeightManifest

LOAD_BYTES = 64 << 20  # tensors that a model is given at once


def prepare_environment(
    config: EngineConfig, *, device: str, threads: int, plugins: tuple[str, ...] = ()
) -> None:
    """Set the environment variables that vLLM reads, and tune malloc on a CPU; call before vLLM is imported.

    Args:
        config: engine settings.
        device: "cpu" or "cuda".
        threads: OpenMP threads of the engine, on a CPU.
        plugins: vLLM plug-ins to load besides medray's; other installed plug-ins are not loaded.
    """
    settings = {
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        # The engine core runs in this process. In a process of its own it would step at any time, but weights may
        # change only between two steps.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_PLUGINS": ",".join(("medray", *plugins)),
        "TOKENIZERS_PARALLELISM": "false",
    }
    if device == "cpu":
        settings |= {
            "VLLM_CPU_KVCACHE_SPACE": str(max(1, round(config.kv_cache_gb))),
            # By default vLLM binds its threads to cores without regard to other processes, such as the other actors
            # on the node; `nobind` was added for this (vllm-project/vllm#27953).
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads),
        }
        if config.enforce_eager:
            settings |= EAGER
        keep_heap()
    os.environ.update(settings)


class VllmEngine(Generation):
    """A `RolloutEngine` over `vllm.v1.engine.llm_engine.LLMEngine`."""

    def __init__(
        self,
        model: ModelConfig,
        config: EngineConfig,
        *,
        max_model_len: int,
        threads: int = 1,
        seed: int = 0,
        backend: str = "object_store",
        dialogues: Dialogues[Sample] | None = None,
    ) -> None:
        prepare_environment(config, device=model.device, threads=threads)
        import torch
        from vllm import LLMEngine

        from medray.engines.vllm import seeded_sampling, weight_transfer

        if model.device == "cpu":
            torch.set_num_threads(threads)
            seeded_sampling.install()
        weight_transfer.register()
        self.version = -1
        self._asleep = False
        self._block_tokens = config.block
        self._backend = weight_transfer.BACKEND if backend == "object_store" else backend
        stops, thoughts = named_stops(model), Thoughts(load_tokenizer(model))
        try:
            self._engine = LLMEngine.from_engine_args(
                _engine_args(model, config, max_model_len, seed, self._backend)
            )
        except (OSError, ValueError) as error:
            raise ModelError(f"vLLM cannot load model.path={model.path}: {reason(error)}") from None
        self._sampler = Sampler(self._engine, stops, dialogues, thoughts)

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to compute."""
        return self._sampler.busy

    def submit(self, key: int, prompt: Prompt, seed: int, spec: GenerateSpec) -> None:
        """Begin to sample `spec.num_samples` responses to a prompt."""
        self._sampler.submit(key, prompt, seed, spec)

    def untouched(self) -> tuple[int, ...]:
        """Keys of the groups under way of which no token is drawn yet, as of the last change of weights."""
        return self._sampler.untouched()

    def step(self) -> list[Generated | GroupFailed]:
        """Draw the next token of every running response; returns the groups that became whole or failed."""
        return self._sampler.step(self.version)

    def abort(self) -> None:
        """Stop computing whatever is under way."""
        self._sampler.abort()

    def reset_cache(self) -> None:
        """Forget cached prompts, so that what is computed depends on the coming order alone."""
        self._reset_cache()

    def load_weights(
        self,
        manifest: WeightManifest,
        tensors: Iterable[NamedArray],
        *,
        tolerance: float,
        kept: frozenset[str] = frozenset(),
    ) -> float:
        """Replace all weights except `kept` in one transaction, and verify them with the manifest's probe.

        Returns:
            Largest difference between engine and learner log-probabilities of the probe, in nats.

        Raises:
            MissingTensorError: a tensor is missing, unknown, or has another shape.
            StaleCacheError: the prefix cache was not reset.
            LogprobMismatchError: the difference exceeds `tolerance`.
        """
        self.begin_update(manifest.probe)
        self.transfer("start_weight_update")
        try:
            delivered = self._deliver(manifest, tensors)
        finally:  # a failed delivery leaves mixed weights; the engine stays closed, and the next sync repairs it
            self.transfer("finish_weight_update")
        require_whole(manifest, delivered, kept)
        return self.end_update(manifest, tolerance=tolerance)

    def begin_update(self, probe: Probe) -> None:
        """Close the engine: it samples again only after `end_update` succeeded."""
        # The cache reset and the probe need an engine without requests.
        self._sampler.suspend(self.version)
        # Stays -1 if anything below raises: the pool never samples from a worker without a version.
        self.version = -1
        if not self._asleep:  # with the old weights, so that a missed cache reset is detected
            self._fill_cache(probe)

    def transfer(self, method: str, *arguments: Any) -> None:
        """One call of vLLM's weight-transfer protocol, on every worker of the engine."""
        self._engine.collective_rpc(method, args=arguments)

    def end_update(self, manifest: WeightManifest, *, tolerance: float) -> float:
        """Reset the cache, verify the weights, and reopen the engine; returns the probe's largest gap in nats."""
        # The order matters. `begin_update` cached the probe's first block with the old weights, so a reset that did
        # nothing shows up as cached tokens in the probe. The version changes only after that check, and responses
        # continue only after the version changed.
        self._reset_cache()
        gap = self._check_probe(manifest, tolerance)
        self.version = manifest.version
        self._sampler.resume()
        return gap

    def sleep(self) -> None:
        """Discard weights and KV cache to free the accelerator; a no-op on CPU."""
        self.version = -1
        self._asleep = True
        self._engine.sleep(level=2)

    def wake(self) -> None:
        """Take the memory again; the weights must be loaded anew before the next order."""
        self._engine.wake_up()
        self._asleep = False

    # The transaction's parts ----------------------------------------------------------------

    def _deliver(self, manifest: WeightManifest, tensors: Iterable[NamedArray]) -> set[str]:
        delivered: set[str] = set()
        batch: dict[str, list[Any]] = {"names": [], "arrays": [], "dtypes": []}
        size = 0
        for name, array in tensors:
            if (promised := require_shape(manifest, (name, array))) is not None:
                batch["names"].append(name)
                batch["arrays"].append(array)
                batch["dtypes"].append(promised.dtype)
                size += array.nbytes
            delivered.add(name)
            if size >= LOAD_BYTES:  # every call of a model's load_weights walks all of its modules
                self.transfer("update_weights", batch)
                batch, size = {key: [] for key in batch}, 0
        if batch["names"]:
            self.transfer("update_weights", batch)
        return delivered

    def _reset_cache(self) -> None:
        # vLLM does not reset while a block is in use, and reports it only as a log line and this return value
        # (vllm-project/vllm#12284, #28827).
        if not self._engine.reset_prefix_cache():
            raise StaleCacheError("the prefix cache could not be reset: requests are still running")

    def _check_probe(self, manifest: WeightManifest, tolerance: float) -> float:
        engine, cached = self._score_probe(manifest.probe)
        if cached:
            raise StaleCacheError(
                f"weight sync {manifest.version}: {cached} probe tokens came from the prefix cache of older weights"
            )
        return require_agreement(manifest, engine, tolerance)

    def _fill_cache(self, probe: Probe) -> None:
        """Cache the probe's first block; costs one token if it is still cached from the previous sync."""
        self._sampler.score(
            probe.token_ids[: self._block_tokens + 1], request_params(max_tokens=1, temperature=0.0)
        )

    def _score_probe(self, probe: Probe) -> tuple[npt.NDArray[np.float32], int]:
        """Log-probabilities [T - 1] of the probe's tokens, and how many tokens the cache answered.

        Tokens that come from the cache have no log-probability of their own; they count as NaN.
        """
        params = request_params(
            max_tokens=1,
            prompt_logprobs=0,
            temperature=1.0,
            seed=0,
            skip_reading_prefix_cache=False,
            detokenize=False,
        )
        output = self._sampler.score(probe.token_ids, params)
        cached = output.num_cached_tokens or 0
        if cached:
            return np.full(len(probe.logp), np.nan, dtype=np.float32), cached
        following = zip(output.prompt_logprobs[1:], probe.token_ids[1:], strict=True)
        logp = [position[int(token)].logprob for position, token in following]
        return np.array(logp, dtype=np.float32), 0


def _engine_args(
    model: ModelConfig, config: EngineConfig, max_model_len: int, seed: int, backend: str
) -> Any:
    from vllm import EngineArgs
    from vllm.config import WeightTransferConfig

    gpu: dict[str, Any] = {}
    if model.device == "cuda":
        gpu = {
            "gpu_memory_utilization": config.gpu_memory_utilization,
            "tensor_parallel_size": config.tensor_parallel,
            "enable_sleep_mode": True,
        }
        if config.tensor_parallel > 1:
            # In a placement group vLLM chooses its Ray executor, which wants bundles of one GPU each; the GPUs of one
            # actor are in one bundle.
            gpu["distributed_executor_backend"] = "mp"
    return EngineArgs(
        # The base: adapters arrive merged, with the first weight sync.
        model=str(adapter_chain(model.path).weights),
        revision=model.revision,
        dtype=model.dtype,
        max_model_len=max_model_len,
        max_num_seqs=config.max_num_seqs,
        block_size=config.block,
        enforce_eager=config.enforce_eager,
        enable_prefix_caching=config.prefix_caching,
        # After a partial prompt, vLLM rewinds the seeded generator of the request with `Generator.set_offset`, which
        # only CUDA generators implement (vllm-project/vllm#10097). Without chunks there is nothing to rewind.
        enable_chunked_prefill=model.device != "cpu",
        max_num_batched_tokens=max(config.batch, max_model_len),
        trust_remote_code=model.trust_remote_code,
        logprobs_mode="processed_logprobs",  # after the temperature, as the learner computes them
        weight_transfer_config=WeightTransferConfig(backend=backend),
        disable_log_stats=True,
        seed=seed,
        **gpu,
    )


def reason(error: Exception) -> str:
    """Extract the informative part of an error as one line; pydantic puts a count and a field name before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if "validation error" not in line and "errors.pydantic.dev" not in line
    ]
    return " ".join(telling)[:400] if telling else type(error).__name__
