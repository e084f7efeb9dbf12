"""The frozen policy that a KL penalty or a preference margin is taken against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from medray.config.parts import KlEstimatorName
from medray.data.batches.trees import rollout_tree
from medray.learners.scorer import Scorer
from medray.losses.kl import kl_estimator
from medray.types import Continuation, Floats, PromptTree, RolloutGroup

Reference = Callable[[Sequence[PromptTree]], Sequence[PromptTree]]
"""Gives trees their column `ref_logp`, where the objective reads one."""


def score_reference(
    scorer: Scorer,
    group: RolloutGroup,
    estimator: KlEstimatorName,
    *,
    adapter: bool = True,
) -> tuple[tuple[float, ...], list[Floats]]:
    """Score a group under the reference.

    Returns:
        Per response, the estimate of KL(behaviour || reference) summed over the tokens that the policy sampled (nats),
        and the reference's log-probabilities [N] of them.
    """
    [scored] = scorer.logprobs([rollout_tree(group)], adapter=adapter)
    kl = kl_estimator(estimator)
    sums = tuple(
        float(kl(torch.from_numpy(np.array(r.sampled_logp)), torch.from_numpy(ref)).sum())
        for r, ref in zip(group.responses, scored, strict=True)
    )
    return sums, list(scored)


def with_reference(
    trees: Sequence[PromptTree], scorer: Scorer, *, adapter: bool = True
) -> list[PromptTree]:
    """The trees with a column `ref_logp`: log-probabilities (nats) of their trained tokens, 0 elsewhere.

    Args:
        trees: what to score.
        scorer: over a frozen copy of the reference model, or over the trained model itself before its first step.
        adapter: False scores under the base of the model that is being trained with LoRA.
    """
    scored = scorer.logprobs(trees, adapter=adapter)
    return [add_reference(tree, logps) for tree, logps in zip(trees, scored, strict=True)]


def add_reference(tree: PromptTree, logps: Sequence[Floats]) -> PromptTree:
    """A tree with a column `ref_logp` from values of its trained tokens, per continuation."""

    def scored(continuation: Continuation, logp: Floats) -> Continuation:
        column = np.zeros(len(continuation.token_ids), dtype=np.float32)
        column[continuation.trained] = logp
        return replace(continuation, columns={**continuation.columns, "ref_logp": column})

    return replace(
        tree,
        continuations=tuple(scored(c, p) for c, p in zip(tree.continuations, logps, strict=True)),
    )
