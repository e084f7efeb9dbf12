"""Memory of one rollout engine, and how many sequences its KV cache holds."""

from __future__ import annotations

from dataclasses import dataclass

from medray.config.rl import RlJob
from medray.planning.memory import HEAP_SHARE, RUNTIME_MIB, ProcessMemory
from medray.planning.shape import BYTES, ModelShape
from medray.system.units import GIB, MIB


@dataclass(frozen=True)
class EngineMemory:
    """The process, and what its cache is good for."""

    process: ProcessMemory
    kv_bytes: int
    sequence_bytes: int  # KV cache of one sequence of the greatest length

    @property
    def num_sequences(self) -> int:
        """Sequences of the greatest length that the cache holds together."""
        return self.kv_bytes // max(1, self.sequence_bytes)


def engine_memory(job: RlJob, shape: ModelShape, gpu_bytes: int | None) -> EngineMemory:
    """One vLLM engine of the job.

    Args:
        job: settings.
        shape: of the model.
        gpu_bytes: memory of one GPU; None takes what the weights and one batch of sequences need.
    """
    config, engine = job.model, job.rollout.engine
    element = BYTES[config.dtype]
    longest = job.data.max_prompt_tokens + max(
        job.rollout.max_new_tokens, job.evaluation.max_new_tokens or 0
    )
    weights = shape.num_params * element // engine.tensor_parallel
    # On a CPU an engine holds a tied head twice.
    head = shape.num_head * element if shape.tied and config.device == "cpu" else 0
    sequence = longest * shape.kv_width * shape.num_layers * element // engine.tensor_parallel
    batch = max(engine.batch, longest)
    work = {
        "logits": engine.max_num_seqs * shape.vocabulary * 4 * 2,
        "workspace": batch * (2 * shape.wide + 4 * shape.hidden) * element,
        "sync": job.sync.bucket_mb * MIB,
    }
    if config.device == "cpu":
        # While vLLM replaces a layer (it fuses two of the MLP) there is its new weight, and that packed for the kernel.
        largest = max(shape.num_head, 2 * shape.largest_layer) * element
        work["sync"] = max(work["sync"], 2 * largest)
        kv = int(max(1, round(engine.kv_cache_gb)) * GIB)
        parts = {
            "weights": weights + head,
            "KV cache": kv,
            **work,
            "heap": int(HEAP_SHARE["engine"] * sum(work.values())),
            "runtime": RUNTIME_MIB["engine"] * MIB,
        }
        # Versions come through the object store: one is served and the next loaded. Adapters bring their bases once.
        versions = 2 if config.lora is None else 1
        mapped = {"versions": versions * shape.num_params * element}
        return EngineMemory(ProcessMemory(parts, mapped=mapped), kv, sequence)
    used = weights + sum(work.values()) + RUNTIME_MIB["cuda"] * MIB
    wanted = engine.max_num_seqs * sequence
    kv = (
        wanted
        if gpu_bytes is None
        else max(0, int(gpu_bytes * engine.gpu_memory_utilization) - used)
    )
    parts = {"weights": weights, "KV cache": kv, **work, "runtime": RUNTIME_MIB["cuda"] * MIB}
    return EngineMemory(
        ProcessMemory(parts, {"runtime": RUNTIME_MIB["engine"] * MIB}), kv, sequence
    )
