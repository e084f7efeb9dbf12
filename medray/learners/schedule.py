"""Learning rate as a pure function of the step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from medray.config.optim import OptimConfig


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
    return config.lr * (config.min_lr_ratio + (1.0 - config.min_lr_ratio) * share)
