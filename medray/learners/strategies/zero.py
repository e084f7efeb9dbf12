"""DeepSpeed ZeRO: optimizer state (stage 1), gradients too (2), weights too (3) are split over the ranks.

DeepSpeed's engine averages gradients, so the loss is multiplied by the number of ranks. It runs without its own
accumulation counter: `step` is the boundary, whatever number of rows came before. Weights stay in the precision they
are held in, float32 where they are trained, and autocast does the rest, as with every other strategy. Run on CPUs
over gloo; the CUDA path (NCCL, overlapped communication, pinned offload) has not run.

Source: ZeRO, arXiv:1910.02054; ZeRO-Offload, arXiv:2101.06840.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from medray.config.optim import OptimConfig
from medray.learners.strategies.adamw import STATE_KEYS, adamw, saved_state
from medray.learners.strategies.base import (
    Root,
    common_plan,
    from_all,
    peer_device,
    reduced,
    run_hooked,
)
from medray.models.packed import PackedModel
from medray.models.weight_placement import layer_stacks, parts_of

T = TypeVar("T")
PERSISTENT_NUMEL = 100_000
"""Weights of so many elements or fewer (norms, biases) stay whole at stage 3: gathering them costs more than room."""


class Zero:
    """A DeepSpeed engine around the model."""

    def __init__(self, stage: int, *, offload_optimizer: bool = False) -> None:
        self.stage = stage
        self.offload_optimizer = offload_optimizer
        self.sharded = stage == 3
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()

    def take(self, policy: PackedModel, optim: OptimConfig) -> None:
        """Take over the model: initialize DeepSpeed with a client AdamW, sharded from the start at stage 3."""
        deepspeed = _deepspeed()
        self.policy = policy
        self.layers = layer_stacks(policy.module)
        root, client = Root(policy.module), adamw(policy.trainable(), optim)
        settings = self._settings(optim)
        if self.sharded:
            # Shards one parameter at a time; `initialize` alone would move the whole model to the GPU first.
            deepspeed.zero.Init(module=root, config_dict_or_path=settings)
        self.engine, self.optimizer, _, _ = deepspeed.initialize(
            model=root, optimizer=client, config=settings, dist_init_required=False
        )
        if self.sharded:
            # Stage 3 gathers the parameters of a module while it runs. Embeddings and output head are used directly
            # in `Root.forward`, so they are registered as its own.
            for name in parts_of(root, self.layers)[-1]:
                deepspeed.zero.register_external_parameter(root, root.get_parameter(name))
        self._start_state()
        policy.placement = self

    def _start_state(self) -> None:
        """Create the optimizer state of all parameter groups now; DeepSpeed links only the first group's later."""
        inner = self.optimizer
        flats = (
            inner.fp32_partitioned_groups_flat
            if self.sharded
            else inner.single_partition_of_fp32_groups
        )
        self.moments = inner.optimizer.state
        for flat in flats:
            self.moments[flat] = {
                "step": torch.zeros((), device=flat.device),
                **{key: torch.zeros_like(flat) for key in STATE_KEYS},
            }
        if not self.sharded:
            inner._lazy_init_hp_params_optimizer_state()

    def _settings(self, optim: OptimConfig) -> dict[str, Any]:
        on_gpu = peer_device() == "cuda"
        zero: dict[str, Any] = {"stage": self.stage, "overlap_comm": self.stage > 1 and on_gpu}
        if self.sharded:
            zero["stage3_param_persistence_threshold"] = PERSISTENT_NUMEL
        if self.offload_optimizer:
            zero["offload_optimizer"] = {"device": "cpu", "pin_memory": on_gpu}
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "managed_gradient_accumulation": False,  # rows per step vary; only `step` ends a step
            "gradient_clipping": optim.max_grad_norm,
            "zero_optimization": zero,
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,  # True requires DeepSpeedCPUAdam, which needs a compiler
        }

    def align_passes(self, passes: Sequence[int]) -> list[int]:
        """Give every rank the same number of passes at stages 2 and 3, which communicate in each.

        Stage 1 communicates once per step: a rank runs its own rows, and at least one pass so that gradients exist.
        """
        return (list(passes) or [1]) if self.stage == 1 else common_plan(list(passes))

    def run(self, compute: Callable[[], T]) -> T:
        """Compute inside the engine's forward pass."""
        return run_hooked(self.engine, compute)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss`, and from stage 2 on sum it over ranks."""
        self.engine.backward(loss * self.world_size)

    def step(self, rate: float) -> float:
        """Sum gradients, clip and step; returns the gradient norm.

        DeepSpeed skips the update when the norm is not finite. `Learner.optim_step` reads the norm and raises, so a
        skipped update never counts as a step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.engine.step()
        return float(self.engine.get_global_grad_norm())

    def sum_values(self, values: Tensor) -> Tensor:
        """All-reduce, on the device that the backend needs."""
        return reduced(values)

    def gather(self, value: T) -> list[T]:
        """Gather a picklable value from every rank, in rank order."""
        return from_all(value, self.world_size)

    def gathered(self, module: nn.Module) -> Iterator[list[str]]:
        """Everything at once; at stage 3 a layer at a time, then what lies outside the layers."""
        if not self.sharded:
            yield [name for name, _ in module.named_parameters()]
            return
        whole = _deepspeed().zero.GatheredParameters
        for names in parts_of(module, self.layers):
            with whole([module.get_parameter(name) for name in names]):
                yield names

    def optimizer_state(self) -> Iterator[tuple[str, Tensor]]:
        """Each tensor is gathered when its turn comes."""
        from deepspeed.utils import safe_get_full_optimizer_state

        [step, *_] = (state["step"] for state in self.moments.values())
        for name, parameter in self.policy.trainable():
            yield f"step.{name}", step.clone()
            for key in STATE_KEYS:
                yield f"{key}.{name}", cast(Tensor, safe_get_full_optimizer_state(parameter, key))

    def load_optimizer_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Give DeepSpeed's flat partitions their parts of the parameters' state."""
        for name, parameter in self.policy.trainable():
            state = saved_state(tensors, name)
            if state is None:
                return
            for key in STATE_KEYS:
                self._set(parameter, key, state[key])
            for moments in self.moments.values():
                moments["step"].copy_(state["step"])

    def _set(self, parameter: Any, key: str, value: Tensor) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        if not self.sharded:
            safe_set_full_optimizer_state(parameter, value, key)
            return
        size = parameter.ds_tensor.numel()
        padded = F.pad(value.flatten(), (0, size * self.world_size - value.numel()))
        own = padded[self.rank * size : (self.rank + 1) * size]
        safe_set_local_optimizer_state(parameter, own, key)


def _deepspeed() -> Any:
    """Import DeepSpeed for this rank's device, without its JIT compilation and its log messages."""
    os.environ.setdefault("DS_ACCELERATOR", peer_device())
    os.environ.setdefault("LOCAL_RANK", "0")  # an actor sees its own GPU only; Ray Train sets it
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel(logging.ERROR)
    # On a CPU, `build_shm_op` (deepspeed/comm/torch.py) compiles a shared-memory all-reduce for inference, without a
    # setting to turn it off (deepspeedai/DeepSpeed#7625). It takes a minute and a compiler; training never uses it.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
