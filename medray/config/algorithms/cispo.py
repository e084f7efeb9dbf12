"""CISPO: REINFORCE weighted by a clipped constant ratio, so that no token loses its gradient.

    loss = sum over tokens of -stop_gradient(clip(rho, 0, 1 + clip_high)) A logp / tokens of the step

The paper bounds the ratio above only and leaves the bound to tuning; a largest ratio of 5 is that of
arXiv:2510.13786.
"""

from medray.config.algorithms.preset import Preset

CISPO = Preset(
    title="CISPO",
    paper="2506.13585",
    keys={
        "advantage": "group",
        "advantage_scale": "std",
        "loss": "cispo",
        "aggregation": "token",
        "clip_low": 1.0,
        "clip_high": 4.0,
    },
)
