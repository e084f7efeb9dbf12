"""ReMax: the baseline is the reward of the prompt's greedy response.

    A = r - r(greedy response);  loss = sum over tokens / constant

One greedy response a prompt is decoded and graded besides the samples, and never trained on. A prompt may have
a single sample (`rollout.samples_per_prompt=1`). A KL penalty, when `algorithm.kl.coef` is set, is part of the
reward of the samples; the baseline is the greedy response's plain reward.
"""

from medray.config.algorithms.preset import Preset

REMAX = Preset(
    title="ReMax",
    paper="2310.10505",
    keys={
        "advantage": "remax",
        "aggregation": "fixed",
        "kl": {"place": "reward", "estimator": "k1"},
    },
)
