"""REINFORCE++: rewards whitened over the whole batch, with PPO's clipped loss and no critic.

    A = (r - mean(r of the batch)) / (std(r of the batch) + 1e-6)

A prompt may have a single response (`rollout.samples_per_prompt=1`). A KL penalty, when `algorithm.kl.coef`
is set, is part of the reward, as k1; it is summed over the response, where the paper lets a token see only the
penalties that follow it.
"""

from medray.config.algorithms.preset import Preset

REINFORCE_PP = Preset(
    title="REINFORCE++",
    paper="2501.03262",
    keys={
        "advantage": "reinforce_pp",
        "aggregation": "token",
        "kl": {"place": "reward", "estimator": "k1"},
    },
)
