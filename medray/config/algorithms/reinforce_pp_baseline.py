"""REINFORCE++-Baseline: the group's mean is the baseline, the whole batch gives the scale.

    A = (r - mean(r of the group)) / (std(r - mean(r of the group), over the batch) + 1e-6)

A KL penalty, when `algorithm.kl.coef` is set, is a loss of its own, as k2, whose gradient is that of the KL.
"""

from medray.config.algorithms.preset import Preset

REINFORCE_PP_BASELINE = Preset(
    title="REINFORCE++-Baseline",
    paper="2501.03262",
    keys={
        "advantage": "reinforce_pp_baseline",
        "aggregation": "token",
        "kl": {"place": "loss", "estimator": "k2"},
    },
)
