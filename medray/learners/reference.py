"""The frozen policy that a KL penalty is taken against."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from medray.learners.scorer import Scorer
from medray.learners.trees import rollout_tree
from medray.losses.kl import kl_penalty
from medray.types import Floats, RolloutGroup


def score_reference(
    scorer: Scorer,
    group: RolloutGroup,
    estimator: Literal["k1", "k2", "k3"],
    *,
    adapter: bool = True,
) -> tuple[tuple[float, ...], list[Floats]]:
    """Score a group under the reference.

    Returns:
        Per response, the estimate of KL(behaviour || reference) summed over its tokens (nats), and the
        reference's log-probabilities [T].
    """
    [scored] = scorer.logprobs([rollout_tree(group)], adapter=adapter)
    sums = tuple(
        float(
            kl_penalty(torch.from_numpy(np.array(r.logp)), torch.from_numpy(ref), estimator).sum()
        )
        for r, ref in zip(group.responses, scored, strict=True)
    )
    return sums, list(scored)
