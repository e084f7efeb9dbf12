"""KTO: responses that are desirable or not, each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from medray.config.kto import KtoConfig
from medray.errors import DataError
from medray.learners.objectives.base import Output, Peers, RowTensors
from medray.learners.objectives.pairs import response_means, response_sums
from medray.learners.scorer import Scorer
from medray.losses.preference import kto_loss, kto_reference_point
from medray.losses.reduce import total_over
from medray.observability.meters import Meters
from medray.types import Continuation, PromptTree, StepTotals


@dataclass(frozen=True)
class Kto:
    """Reads the columns `desirable` (1 or 0), `ref_logp`, and `mismatched` (see `trees.with_mismatched`).

    A continuation with `mismatched` = 1 answers another prompt. It is never trained: before the step, one pass
    without gradients over all of them gives the reference point, the same for every row and rank.
    """

    config: KtoConfig
    reference_point: float | None = None  # nats; known once the step is prepared
    separable: ClassVar[bool] = True
    output: ClassVar[Output] = "logp"

    def prepare(
        self, scorer: Scorer, trees: Sequence[PromptTree], peers: Peers
    ) -> tuple[list[PromptTree], Kto]:
        """Find the reference point, and leave the mismatched continuations out.

        Raises:
            DataError: the step holds no mismatched response.
        """
        sums = peers.sum_values(self._step_sums(scorer, trees))
        return _only(trees, mismatched=False), self._for_step(sums)

    def _step_sums(self, scorer: Scorer, trees: Sequence[PromptTree]) -> Tensor:
        """[sum of log ratios of the mismatched responses (nats), how many they are]."""
        if self.config.reference_point == "zero":
            return torch.zeros(2, dtype=torch.float64)
        others = _only(trees, mismatched=True)
        total, count = 0.0, 0
        for tree, scored in zip(others, scorer.logprobs(others), strict=True):
            for continuation, logp in zip(tree.continuations, scored, strict=True):
                reference = continuation.columns["ref_logp"][continuation.trained]
                total += float(logp.astype("float64").sum() - reference.astype("float64").sum())
                count += 1
        return torch.tensor([total, count], dtype=torch.float64)

    def _for_step(self, sums: Tensor) -> Kto:
        """The objective with the reference point that the sums give."""
        if self.config.reference_point == "zero":
            return replace(self, reference_point=0.0)
        total, count = sums.tolist()
        if count < 1:
            raise DataError(
                "KTO's reference point needs responses to other prompts, and this step has none: "
                "add them with with_mismatched, or set loss.reference_point=zero"
            )
        point = kto_reference_point(torch.tensor(total, dtype=torch.float64), int(count))
        return replace(self, reference_point=float(point))

    def __call__(
        self, values: Tensor, row: RowTensors, totals: StepTotals
    ) -> tuple[Tensor, Meters]:
        """Return the row's share of the mean over responses, and its metrics; `values` is logp [N]."""
        assert self.reference_point is not None, "the step was not prepared"
        config = self.config
        logp, reference = (response_sums(v, row) for v in (values, row.columns["ref_logp"]))
        desirable = response_means(row.columns["desirable"], row) > 0.5
        point = logp.new_tensor(self.reference_point)
        loss = kto_loss(
            logp,
            reference,
            desirable,
            point,
            config.beta,
            config.desirable_weight,
            config.undesirable_weight,
        )
        meters = Meters()
        rewards = config.beta * (logp - reference).detach()
        for name, group in (("desirable", desirable), ("undesirable", ~desirable)):
            meters.mean(f"kto/{name}_reward", float(rewards[group].sum()), int(group.sum()))
        meters.max("kto/reference_point_nats", self.reference_point)
        return total_over(loss, totals.num_sequences), meters


def _only(trees: Sequence[PromptTree], *, mismatched: bool) -> list[PromptTree]:
    kept = [
        replace(
            t, continuations=tuple(c for c in t.continuations if _is_mismatched(c) == mismatched)
        )
        for t in trees
    ]
    return [tree for tree in kept if tree.continuations]


def _is_mismatched(continuation: Continuation) -> bool:
    column = continuation.columns.get("mismatched")
    return column is not None and bool(column[continuation.trained].any())
