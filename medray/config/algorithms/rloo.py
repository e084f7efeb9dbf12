"""RLOO: the baseline of a response is the mean reward of the other responses to its prompt.

    A_i = r_i - mean(r_j, j != i) = G / (G - 1) * (r_i - mean(r));  loss = sum over tokens / constant

A whole response is one action, so its tokens' terms are summed; the constant is responses * max_new_tokens.
A KL penalty, when `algorithm.kl.coef` is set, is part of the reward.
"""

from medray.config.algorithms.preset import Preset

RLOO = Preset(
    title="RLOO",
    paper="2402.14740",
    keys={
        "advantage": "rloo",
        "aggregation": "fixed",
        "kl": {"place": "reward", "estimator": "k1"},
    },
)
