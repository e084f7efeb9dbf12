"""GSPO: one importance ratio a response, the geometric mean of its tokens' ratios, clipped as a whole.

    s = exp(mean over the response's tokens of log rho);  loss = mean over responses of -min(s A, clip(s) A)

The bounds are those of the paper, section 5.1: a mean over tokens stays much nearer to 1 than one token's ratio.
"""

from medray.config.algorithms.preset import Preset

GSPO = Preset(
    title="GSPO",
    paper="2507.18071",
    keys={
        "advantage": "group",
        "advantage_scale": "std",
        "loss": "gspo",
        "aggregation": "sequence",
        "clip_low": 3e-4,
        "clip_high": 4e-4,
    },
)
