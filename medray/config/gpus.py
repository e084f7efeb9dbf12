"""Which GPUs the processes of an RL job may reserve, and which ways of weights to the engines exist between them."""

from __future__ import annotations

from collections.abc import Mapping

from medray.config.cluster import SyncConfig
from medray.config.rollout import VLLM, EngineConfig
from medray.config.workers import RlWorkers, WorkerGroup


def check_engine_gpus(engine: EngineConfig, rollout: WorkerGroup, device: str) -> None:
    """An engine runs in one actor, on exactly the GPUs that the actor reserves.

    Raises:
        ValueError: more or fewer GPUs are reserved than vLLM will use.
    """
    wanted = engine.tensor_parallel
    if device != "cuda":
        if wanted > 1:
            raise ValueError(
                f"rollout.engine.tensor_parallel={wanted} splits an engine over GPUs: set model.device=cuda, or "
                "rollout.engine.tensor_parallel=1"
            )
        return
    if engine.kind != VLLM:  # one of your own may compute elsewhere
        return
    if rollout.gpus == 0:
        raise ValueError("model.device=cuda needs workers.rollout.gpus > 0")
    if (wanted > 1 or rollout.gpus > 1) and rollout.gpus != wanted:
        raise ValueError(
            f"rollout.engine.tensor_parallel={wanted} uses {wanted} GPU{'s' * (wanted > 1)} of one node, but "
            f"workers.rollout.gpus={rollout.gpus:g}: set both to the same number; for more engines raise "
            "workers.rollout.count"
        )


def check_model_gpus(devices: Mapping[str, str], workers: RlWorkers) -> None:
    """Every process that holds a model on a GPU reserves one, or a share of one.

    Args:
        devices: by role, "cpu" or "cuda".
        workers: what each process of a role reserves.

    Raises:
        ValueError: a process would see no GPU, or would leave GPUs idle.
    """
    for role, device in devices.items():
        gpus: float = getattr(workers, role).gpus
        if device == "cuda" and gpus == 0:
            raise ValueError(f"the {role} on cuda needs workers.{role}.gpus > 0")
        if gpus > 1:
            raise ValueError(
                f"workers.{role}.gpus={gpus:g}: a process computes on one GPU: set it to 1, and raise "
                f"workers.{role}.count"
            )


def check_colocation(workers: RlWorkers, engine: EngineConfig, sync: SyncConfig) -> None:
    """Rank i of the learner and engine i share a GPU, so there are as many of both.

    Raises:
        ValueError: they cannot share GPUs, or `sync.backend` has no way between them.
    """
    learner, rollout = workers.learner, workers.rollout
    if not workers.colocate:
        if sync.backend == "ipc":
            raise ValueError(
                "sync.backend=ipc hands over memory of a GPU that learner and engine share: set "
                "workers.colocate=true, or sync.backend=nccl or object_store"
            )
        return
    if engine.tensor_parallel > 1:
        raise ValueError(
            f"workers.colocate pairs each learner rank with an engine on its GPU, but rollout.engine.tensor_parallel="
            f"{engine.tensor_parallel}: set it to 1, or workers.colocate=false"
        )
    if learner.count != rollout.count:
        raise ValueError(
            f"workers.colocate pairs each learner rank with an engine on its GPU, but workers.learner.count="
            f"{learner.count} and workers.rollout.count={rollout.count}: set both to the number of GPUs"
        )
    if learner.gpus + rollout.gpus > 1:
        raise ValueError(
            f"workers.colocate shares a GPU, but workers.learner.gpus={learner.gpus:g} and workers.rollout.gpus="
            f"{rollout.gpus:g} exceed 1: set both to 0.5"
        )
    if sync.backend == "nccl":
        raise ValueError(
            "sync.backend=nccl cannot send from a GPU to itself, where workers.colocate puts the engine: set "
            "sync.backend=ipc or object_store"
        )
    if sync.backend == "ipc" and learner.count > 1:
        raise ValueError(
            f"sync.backend=ipc sends from one rank, but workers.learner.count={learner.count}: set "
            "sync.backend=object_store"
        )
