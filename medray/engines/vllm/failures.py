"""The names of vLLM's failures, for those who tell clients of them."""

from __future__ import annotations

from vllm.exceptions import (
    VLLMClientError as RequestRefused,  # by the engine, for the request's own fault
)
from vllm.v1.engine.exceptions import (
    EngineDeadError as EngineDead,  # the process that computes is gone
)

__all__ = ["EngineDead", "RequestRefused"]
