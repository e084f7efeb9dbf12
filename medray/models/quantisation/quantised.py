"""What vLLM needs to be told, and to have installed, for a model that is stored quantised."""

from __future__ import annotations

import importlib.util

from medray.errors import ModelError

BITSANDBYTES = "bitsandbytes"
PLUGIN = "vllm_bnb_plugin"


def engine_dtype(asked: str, *, device: str, quantisation: str | None) -> str:
    """The engine's dtype where `asked` is auto: float32 for whole weights on a CPU, else bfloat16.

    vLLM's CPU kernels for packed 4-bit weights take no float32.
    """
    if asked != "auto":
        return asked
    return "float32" if device == "cpu" and quantisation is None else "bfloat16"


def engine_plugins(quantisation: str | None, *, model: str) -> tuple[str, ...]:
    """Names of the vLLM plug-ins that load such weights.

    Raises:
        ModelError: one is not installed.
    """
    if quantisation != BITSANDBYTES:
        return ()
    if importlib.util.find_spec(PLUGIN) is None:
        raise ModelError(
            f"{model} is quantized with bitsandbytes, which vLLM loads with a plug-in: pip install --no-deps "
            "-r constraints/bitsandbytes.txt"
        )
    return (BITSANDBYTES,)
