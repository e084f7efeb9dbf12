"""medray's own backend of vLLM's weight-transfer protocol: tensors handed over as host arrays.

The arrays come out of Ray's object store without a copy, so there is no process group that could hang, and a
replaced worker simply fetches the newest version. Registered in every vLLM worker process by the
`vllm.general_plugins` entry point `medray`.
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
    """Nothing to agree on beforehand."""


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
        """Put the model back into checkpoint layout.

        vLLM's CPU linears pack their weight and drop the parameter it came in (`dispatch_cpu_unquantized_gemm` with
        `remove_weight`), and `weight_loader` with it: without this call nothing can be loaded.
        """
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load one bucket. The base class would wait for an accelerator, which a CPU worker has not."""
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
    with warnings.catch_warnings():  # the object store's arrays are read-only, and are only read
        warnings.simplefilter("ignore", UserWarning)
        tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor


def register() -> None:
    """Entry point of the vLLM plug-in; also called by the engine itself. Safe to call twice."""
    if (
        BACKEND not in WeightTransferEngineFactory._registry
    ):  # `register_engine` raises for a known name
        WeightTransferEngineFactory.register_engine(BACKEND, ArraysTransferEngine)
