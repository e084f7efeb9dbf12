"""Learning rate as a pure function of the step, so that a resumed run needs no scheduler state.

A schedule of your own is a function of the step after warm-up and the number of such steps; it returns the share of
the peak, in [0, 1], that is above the least rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from medray.config.optim import OptimConfig
from medray.config.parts import SCHEDULE, kind_of
from medray.errors import ConfigError
from medray.plugins import make_part

_NONE: dict[str, Callable[[int, int], float]] = {}


def warmup_note(config: OptimConfig, num_steps: int) -> str:
    """What to know of a warm-up that does not end within the run; "" for one that does."""
    warmup = config.warmup_steps or 0
    if warmup <= num_steps:
        return ""
    peak = learning_rate(config, num_steps - 1, num_steps)
    return (
        f"optim.warmup_steps={warmup} does not end within the {num_steps} steps of this run: the learning rate reaches"
        f" {peak:.3g} of optim.lr={config.lr:g}; lower warmup_steps or set warmup_ratio"
    )


def learning_rate(config: OptimConfig, step: int, num_steps: int) -> float:
    """Rate of optimizer step `step` (0-based) out of `num_steps`.

    Warm-up rises linearly from lr / warm-up steps to lr; linear, cosine and wsd then fall to
    lr * min_lr_ratio, which the step after the last one would have.
    """
    warmup = config.warmup_steps
    if warmup is None:
        warmup = math.ceil(config.warmup_ratio * num_steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    share = 1.0
    done = min(1.0, (step - warmup) / max(1, num_steps - warmup))
    if config.schedule == "linear":
        share = 1.0 - done
    elif config.schedule == "cosine":
        share = 0.5 * (1.0 + math.cos(math.pi * done))
    elif config.schedule == "wsd":
        decay = max(1, round(config.decay_ratio * num_steps))
        share = 1.0 - math.sqrt(max(0.0, 1.0 - max(0, num_steps - step) / decay))
    elif kind_of(config.schedule) not in SCHEDULE.names:
        own = make_part(config.schedule, SCHEDULE, "optim.schedule", _NONE)
        share = float(own(step - warmup, max(1, num_steps - warmup)))
        if not 0 <= share <= 1:
            raise ConfigError(
                f"optim.schedule={kind_of(config.schedule)} returned {share} at step {step}: "
                "it must return a share in [0, 1]"
            )
    return config.lr * (config.min_lr_ratio + (1.0 - config.min_lr_ratio) * share)
