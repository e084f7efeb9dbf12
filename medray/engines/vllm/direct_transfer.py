"""The learner's side of vLLM's own weight-transfer backends, for GPUs: `nccl` across them, `ipc` within one.

vLLM drives a round through a client with four calls; this client forwards each call to every engine. The caller
decides which engines those are and how to reach them (`medray/actors/weights/engine_calls.py`).

Who waits for whom: each call returns when all engines have answered it. Only `init_weight_transfer_engine` and
`update_weights` need the learner at the same time: the learner joins the group, or sends, while engines wait in theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from vllm.distributed.weight_transfer import WeightTransferTrainerFactory
from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource
from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo
from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

NamedTensors = Callable[[], Iterator[tuple[str, torch.Tensor]]]
Call = Callable[[str, Sequence[tuple[Any, ...]]], None]
"""Calls a method on all engines, with one tuple of arguments for each, and waits for them."""


class EngineClient:
    """vLLM's control plane over any number of independent engines."""

    def __init__(self, call: Call, num_engines: int, ranks_per_engine: int) -> None:
        self._call = call
        self._num_engines = num_engines
        self._ranks_per_engine = ranks_per_engine

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Tell each engine its rank in the process group: the learner is rank 0, engines follow.

        The group forms only when every engine has joined, so all engines are called before any is waited for.
        """
        first = init_info.get("rank_offset")
        infos = [dict(init_info) for _ in range(self._num_engines)]
        if first is not None:
            for i, info in enumerate(infos):
                info["rank_offset"] = first + i * self._ranks_per_engine
        self._call("init_weight_transfer_engine", [(info,) for info in infos])

    def start_weight_update(self) -> None:
        """Open the update on every engine."""
        self._everywhere("start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        """Have every engine receive one round."""
        self._everywhere("update_weights", update_info)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Close the update on every engine."""
        self._everywhere("finish_weight_update")

    def _everywhere(self, method: str, *arguments: Any) -> None:
        self._call(method, [arguments] * self._num_engines)


class NamedTensorSource(WeightSource):
    """The learner's weights in the form vLLM reads, including tied names.

    A model with tied embeddings has no `lm_head.weight` parameter. If it is not sent, vLLM may keep the old output head
    without a warning (vllm-project/vllm#51665), so the learner yields the tensor under both names.
    """

    def __init__(self, tensors: NamedTensors) -> None:
        self._tensors = tensors

    def metadata(self) -> list[ParamMeta]:
        """Name, dtype and shape of everything the iteration yields."""
        return [ParamMeta(name, t.dtype, tuple(t.shape)) for name, t in self._tensors()]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        return self._tensors()


class DirectTransfer:
    """One learner's connection to all engines; `send` pushes the present weights."""

    def __init__(
        self,
        backend: Literal["nccl", "ipc"],
        client: EngineClient,
        tensors: NamedTensors,
        *,
        address: tuple[str, int],
        num_engine_ranks: int,
    ) -> None:
        info: Any
        if backend == "nccl":
            info = NCCLTrainerInitInfo(
                rank=0,
                master_address=address[0],
                master_port=address[1],
                world_size=1 + num_engine_ranks,
            )
        else:
            info = IPCTrainerInitInfo(rank=0)
        self._engine = WeightTransferTrainerFactory.trainer_init(
            info, client=client, source=NamedTensorSource(tensors)
        )

    def send(self) -> None:
        """Push every weight; returns when all engines have loaded it."""
        self._engine.send_weights()
