"""Classes of replicas. Their process imports this file before it opens a port."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine
from ray.serve.llm.deployment import LLMServer

from medray.engines.vllm.failures import EngineDead
from medray.serve.errors import is_failure
from medray.serve.loopback import keep_replica_on_loopback
from medray.system.cpu import keep_heap

keep_replica_on_loopback()  # Ray Serve imports the deployment's module, then opens the replica's port


class LeanEngine(VLLMEngine):
    """ray.serve.llm's engine, but on a CPU the model runs in the process that schedules it.

    vLLM gives a CPU model a process of its own, and the scheduler spins until each step's tokens come back: a core
    taken from the model's own threads. It does so to bind threads to cores, which the replica's environment settles.
    The process keeps its heap. An engine that died says so by an exception: vLLM writes it into the stream as one
    more event, with a status of its own and "[DONE]" after it, as if the answer had ended.
    """

    async def start(self) -> None:
        """Start the engine, with its tokenization."""
        await super().start()
        # ray.serve.llm looks for it by vLLM's former name (Ray 2.60 with vLLM 0.29), and finds none.
        self._oai_serving_tokenization = self._app_state.serving_tokenization

    async def chat(self, request: Any, raw_request_info: Any = None) -> AsyncGenerator[Any, None]:
        """A chat's answer.

        Raises:
            EngineDead: the engine is gone, before the answer or in its midst.
        """
        async for answer in super().chat(request, raw_request_info):
            yield self._of_the_living(answer)

    async def completions(
        self, request: Any, raw_request_info: Any = None
    ) -> AsyncGenerator[Any, None]:
        """A completion.

        Raises:
            EngineDead: the engine is gone, before the answer or in its midst.
        """
        async for answer in super().completions(request, raw_request_info):
            yield self._of_the_living(answer)

    def _of_the_living(self, answer: Any) -> Any:
        client: Any = self._engine_client
        if client.errored and is_failure(answer):
            raise EngineDead
        return answer

    def _start_async_llm_engine(
        self, vllm_engine_args: Any, vllm_engine_config: Any, placement_group: Any
    ) -> Any:
        parallel = vllm_engine_config.parallel_config
        if vllm_engine_config.device_config.device_type == "cpu" and parallel.world_size == 1:
            keep_heap()
            parallel.distributed_executor_backend = "uni"
        return super()._start_async_llm_engine(
            vllm_engine_args, vllm_engine_config, placement_group
        )


class EngineServer(LLMServer):
    """ray.serve.llm's engine replica with a `LeanEngine`."""

    _default_engine_cls = LeanEngine
