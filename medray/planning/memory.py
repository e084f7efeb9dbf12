"""Bytes of one process of each role, from a model's shape and a job's settings.

Figures for the CPU are tested against measured peaks (tests/planning/test_measured.py). Those for GPUs come from
the same arithmetic and have not been compared with one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medray.config.learner import LearnerConfig
from medray.config.model import ModelConfig
from medray.planning.shape import BYTES, ActivationBytes, ModelShape
from medray.planning.tokens import RowSize
from medray.system.units import MIB

RUNTIME_MIB = {"full": 463, "lora": 520, "engine": 1250, "grader": 260, "cuda": 700}
"""Python, torch and what else a process loads before and in its first step, measured with a tiny model."""
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""A weight in NF4 with double quantisation (arXiv:2305.14314): four bits, and scales for blocks of 64 and 256."""
INT8_BYTES = 1.0 + 4 / 1024  # one float a row
GPU_SLACK = 1.08  # what a caching allocator holds beyond what is in use
HEAP_SHARE = {"full": 0.45, "lora": 1.5, "engine": 2.0}
"""What malloc holds on a CPU beyond what is in use, as a share of what every row, or an engine's every batch and sync,
takes and frees again."""


@dataclass(frozen=True)
class ProcessMemory:
    """Bytes of one process at its peak, by what takes them."""

    parts: Mapping[str, int] = field(default_factory=dict)  # on the device that computes
    host: Mapping[str, int] = field(default_factory=dict)  # beside a GPU: in the machine's memory
    slack: float = 1.0
    mapped: Mapping[str, int] = field(default_factory=dict)  # of the object store, which all share

    @property
    def seen_bytes(self) -> int:
        """What the system says that the process takes: shared pages count for each that maps them."""
        return self.device_bytes + sum(self.mapped.values())

    @property
    def device_bytes(self) -> int:
        """All of it, where the computing is done."""
        return int(sum(self.parts.values()) * self.slack)

    @property
    def host_bytes(self) -> int:
        """What a process on a GPU takes of the machine's memory besides."""
        return sum(self.host.values())


def weight_bytes(shape: ModelShape, config: ModelConfig) -> int:
    """The frozen or trained weights in their storage, adapters not counted."""
    stored = BYTES["float32" if config.lora is None else config.dtype]
    if config.quantisation == "none":
        return shape.num_params * stored
    small = NF4_BYTES if config.quantisation == "4bit" else INT8_BYTES
    return int(shape.num_quantised * small + (shape.num_params - shape.num_quantised) * stored)


def learner_memory(
    shape: ModelShape,
    activations: ActivationBytes,
    row: RowSize,
    config: ModelConfig,
    learner: LearnerConfig,
    *,
    strategy: str = "ddp",
    ranks: int = 1,
    offload: bool = False,
) -> ProcessMemory:
    """One rank of a learner while it computes the largest row of a step that is not its first.

    Args:
        shape: of the model.
        activations: of the row.
        row: the largest one.
        config: how the model is held.
        learner: how the head's logits are cut.
        strategy: what is spread over the ranks (`learner.strategy`).
        ranks: how many there are.
        offload: the optimizer's state is in host memory.
    """
    full = config.lora is None
    adapter = 0 if full else shape.num_trained * 4
    weights = weight_bytes(shape, config) // (ranks if strategy in ("zero3", "fsdp2") else 1)
    gradients = shape.num_trained * 4 // (ranks if strategy in ("zero2", "zero3", "fsdp2") else 1)
    optimizer = (
        shape.num_trained
        * 8
        // (ranks if strategy.startswith("zero") or strategy == "fsdp2" else 1)
    )
    kept = _kept(shape, activations, row, config)
    head = _head(shape, row, learner, full)
    parts = {
        "weights": weights + adapter,
        "gradients": gradients,
        "optimizer": 0 if offload else optimizer,
        "activations": kept,
        "logits": head,
        "workspace": _workspace(shape, row, config),
    }
    if not row.more_rows:  # gradients grow while activations are freed
        parts["gradients"] -= min(gradients, kept + head)
    if full and config.dtype != "float32":
        parts["half copies"] = shape.num_quantised * 2  # of the weights, for autocast
    if config.device == "cuda":
        parts["runtime"] = RUNTIME_MIB["cuda"] * MIB
        host = {"runtime": RUNTIME_MIB["full" if full else "lora"] * MIB}
        if offload:
            host["optimizer"] = optimizer
        return ProcessMemory(parts, host, GPU_SLACK)
    parts["runtime"] = RUNTIME_MIB["full" if full else "lora"] * MIB
    parts["heap"] = int(HEAP_SHARE["full" if full else "lora"] * (kept + head))
    if config.quantisation != "none":
        parts["weights file"] = (
            shape.num_params * BYTES[config.dtype]
        )  # mapped; the system may drop it
    return ProcessMemory(parts)


def _kept(
    shape: ModelShape, activations: ActivationBytes, row: RowSize, config: ModelConfig
) -> int:
    if not config.gradient_checkpointing:
        return shape.num_layers * activations.per_layer + activations.outside
    inputs = shape.num_layers * row.num_tokens * shape.hidden * BYTES[config.dtype]
    return inputs + activations.per_layer + activations.outside


def _head(shape: ModelShape, row: RowSize, learner: LearnerConfig, full: bool) -> int:
    logits = min(learner.head_chunk, row.num_trained) * shape.vocabulary * 4
    states = 2 * row.num_trained * shape.hidden * 4
    return logits + states + (shape.num_head * 4 if full else 0)


def _workspace(shape: ModelShape, row: RowSize, config: ModelConfig) -> int:
    """Gradients of activations on their way through one layer, and one dequantised weight."""
    flowing = (3 * shape.wide + 2 * shape.hidden) * row.num_tokens * BYTES[config.dtype]
    return flowing + (shape.largest_layer * 4 if config.quantisation != "none" else 0)


def forward_memory(
    shape: ModelShape, row: RowSize, config: ModelConfig, learner: LearnerConfig
) -> ProcessMemory:
    """A frozen model that scores rows: the reference, a teacher, a reward model."""
    parts = {
        "weights": shape.num_params * BYTES[config.dtype],
        "logits": min(learner.head_chunk, row.num_trained) * shape.vocabulary * 4,
        "workspace": (3 * shape.wide + 4 * shape.hidden) * row.num_tokens * BYTES[config.dtype],
        "runtime": RUNTIME_MIB["cuda" if config.device == "cuda" else "full"] * MIB,
    }
    host = {"runtime": RUNTIME_MIB["full"] * MIB} if config.device == "cuda" else {}
    return ProcessMemory(parts, host, GPU_SLACK if config.device == "cuda" else 1.0)
