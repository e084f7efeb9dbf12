"""Backend of vLLM's weight-transfer protocol that takes host arrays from Ray's object store.

The arrays are read without a copy. There is no process group that could hang, and a replaced worker fetches the newest
version by itself. The `vllm.general_plugins` entry point `medray` registers the backend in every vLLM worker process.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from vllm.distributed.weight_transfer import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)

BACKEND = "medray_object_store"


@dataclass
class ArraysInitInfo(WeightTransferInitInfo):
    """Empty: this backend negotiates nothing at start-up."""


@dataclass
class ArraysUpdateInfo(WeightTransferUpdateInfo):
    """One bucket: parallel lists of Hugging Face names, host arrays, and the dtypes they stand for."""

    names: list[str]
    arrays: list[Any]
    dtypes: list[str]


class ArraysTransferEngine(WeightTransferEngine[ArraysInitInfo, ArraysUpdateInfo]):
    """Loads numpy arrays through the model's own `load_weights`, between a layerwise start and finish."""

    init_info_cls = ArraysInitInfo
    update_info_cls = ArraysUpdateInfo

    def init_transfer_engine(self, init_info: ArraysInitInfo) -> None:
        """No-op: arrays arrive through Ray's object store, so there is no process group to set up."""

    def start_weight_update(self) -> None:
        """Restore the model's checkpoint layout, into which weights can be loaded (vllm-project/vllm#32133).

        vLLM's CPU linears repack their weight and delete the original parameter with its `weight_loader`
        (`dispatch_cpu_unquantized_gemm` with `remove_weight`). Without this call no weight can be loaded.
        """
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load one bucket; unlike the base class, synchronize only where there is an accelerator."""
        self.receive_weights(self.parse_update_info(update_info))
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: ArraysUpdateInfo) -> None:
        """Copy the bucket's arrays into the model."""
        weights = [
            (name, as_tensor(array, dtype).to(self.device))
            for name, array, dtype in zip(
                update_info.names, update_info.arrays, update_info.dtypes, strict=True
            )
        ]
        self.model.load_weights(weights)  # type: ignore[operator]

    def finish_weight_update(self) -> None:
        """Return to the layout the kernels read."""
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        """No-op: the object store frees the arrays."""


def as_tensor(array: Any, dtype: str) -> torch.Tensor:
    """View a host array as a tensor; bfloat16 travels as its uint16 bits, which numpy can hold."""
    with warnings.catch_warnings():  # torch warns of read-only arrays; these are never written
        warnings.simplefilter("ignore", UserWarning)
        tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor


def register() -> None:
    """Entry point of the vLLM plug-in; also called by the engine itself. Safe to call twice."""
    # `register_engine` raises for a name that is registered already.
    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(BACKEND, ArraysTransferEngine)
