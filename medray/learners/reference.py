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
from medray.types import Continuation, Floats, PromptTree, ResponseKl, RolloutGroup

Reference = Callable[[Sequence[PromptTree]], Sequence[PromptTree]]
"""Gives trees their column `ref_logp`, where the objective reads one."""


def score_reference(
    scorer: Scorer,
    group: RolloutGroup,
    estimator: KlEstimatorName,
    *,
    adapter: bool = True,
) -> tuple[tuple[ResponseKl, ...], list[Floats]]:
    """Score a group under the reference.

    Returns:
        Per response, the estimate of KL(behaviour || reference) over the tokens that the policy sampled, and the
        reference's log-probabilities [N] of them (nats).
    """
    [scored] = scorer.logprobs([rollout_tree(group)], adapter=adapter)
    return response_kls(group, scored, estimator), list(scored)


def response_kls(
    group: RolloutGroup, ref_logp: Sequence[Floats], estimator: KlEstimatorName
) -> tuple[ResponseKl, ...]:
    """Return the KL of each response [G] and the moments of what follows each of its tokens."""
    found: list[ResponseKl] = []
    for kl in _token_kls(group, ref_logp, estimator):
        to_go = _to_go(kl)
        found.append(ResponseKl(float(kl.sum()), float(to_go.mean()), float(to_go.var())))
    return tuple(found)


def less_kl_to_go(
    advantages: Floats,
    group: RolloutGroup,
    ref_logp: Sequence[Floats],
    estimator: KlEstimatorName,
    slope: float,
) -> list[Floats]:
    """Return advantages [G][N] whose mean over a response is its own, lower where more KL follows.

    Args:
        advantages: [G] of the responses.
        group: their tokens.
        ref_logp: per response the reference's log-probabilities [N], nats.
        estimator: of a token's KL.
        slope: advantage per nat of the KL from a token to the end of its response.
    """
    to_go = [_to_go(kl) for kl in _token_kls(group, ref_logp, estimator)]
    return [
        (float(own) - slope * (after - after.mean())).astype(np.float32)
        for own, after in zip(advantages, to_go, strict=True)
    ]


def _token_kls(
    group: RolloutGroup, ref_logp: Sequence[Floats], estimator: KlEstimatorName
) -> list[torch.Tensor]:
    kl = kl_estimator(estimator)
    return [
        kl(torch.from_numpy(np.array(r.sampled_logp)), torch.from_numpy(np.array(ref)))
        for r, ref in zip(group.responses, ref_logp, strict=True)
    ]


def _to_go(kl: torch.Tensor) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Sum from each token to the end."""
    return np.cumsum(kl.numpy().astype(np.float64)[::-1])[::-1]


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
