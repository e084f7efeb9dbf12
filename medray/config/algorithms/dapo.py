"""DAPO: GRPO with a higher upper clip, refilled batches, a mean over tokens, and a soft limit of length.

    loss = sum over tokens of -min(rho A, clip(rho, 0.8, 1.28) A) / tokens of the step
    A = (r - mean(r)) / (std(r) + 1e-6), with r less the overlong penalty

Groups whose rewards tie are replaced by further prompts until the batch is full. A fixed KL penalty is left out.
"""

from medray.config.algorithms.preset import Preset

DAPO = Preset(
    title="DAPO",
    paper="2503.14476",
    keys={
        "advantage": "group",
        "advantage_scale": "std",
        "aggregation": "token",
        "clip_low": 0.2,
        "clip_high": 0.28,
        "dynamic_sampling": {},
        "overlong": {},
    },
)
