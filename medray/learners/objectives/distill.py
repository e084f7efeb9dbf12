"""On-policy distillation: the student's own tokens, the teacher's whole distribution, alone or beside a policy loss.

    loss = policy loss + aggregate(coef * D(teacher, student))

D is a divergence over the vocabulary at every trained token (losses/distill.py): from both models' hidden states where
the rank holds the teacher, and from the teacher's most likely tokens where it runs in vLLM. The gradient goes through
the student's distribution at the tokens it sampled, not through the sampling. Source: GKD, arXiv:2306.13649, with
reverse KL as in MiniLLM, arXiv:2306.08543.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, ClassVar, Protocol, cast

import torch
from torch import Tensor

from medray.config.policy import DistillConfig
from medray.errors import ModelError
from medray.learners.objectives.base import Output, Peers, RowTensors
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.learners.scorer import Scorer
from medray.losses.distill import distill_loss, top_distill_loss
from medray.losses.reduce import aggregate
from medray.models.packed import PolicyModel
from medray.models.weight_placement import whole_shape
from medray.observability.meters import Meters
from medray.types import PromptTree, StepTotals


class Teacher(Protocol):
    """Says how far the student is from it."""

    def __call__(self, hidden: Tensor, row: RowTensors) -> Tensor:
        """Divergence [N] (nats) at a row's trained tokens, given the student's hidden states [N, D] there."""
        ...


class Distill:
    """A policy loss, which may be nothing but its metrics, and the divergence from a teacher."""

    separable: ClassVar[bool] = True
    output: ClassVar[Output] = "hidden"

    def __init__(
        self,
        policy_gradient: PolicyGradient,
        config: DistillConfig,
        student: Scorer,
        teacher: Teacher,
    ) -> None:
        self.policy_gradient = policy_gradient
        self.config = config
        self.student = student
        self.teacher = teacher
        algorithm = policy_gradient.config
        in_loss = algorithm.kl.coef > 0 and algorithm.kl.place == "loss"
        self.trains_policy = algorithm.uses_advantages or in_loss or algorithm.entropy_coef > 0

    def prepare(
        self, scorer: Scorer, trees: Sequence[PromptTree], peers: Peers
    ) -> tuple[Sequence[PromptTree], Distill]:
        """Do what the policy loss needs before a step."""
        return self.policy_gradient.prepare(scorer, trees, peers)[0], self

    def __call__(
        self, hidden: Tensor, row: RowTensors, totals: StepTotals
    ) -> tuple[Tensor, Meters]:
        """Return the row's share of the loss and its metrics."""
        assert row.packed is not None
        with nullcontext() if self.trains_policy else torch.no_grad():
            logp, extra = self.student.read(hidden, row.packed, self.policy_gradient.output)
        known = replace(row, columns={**row.columns, **extra})
        loss, meters = self.policy_gradient(logp, known, totals)
        divergence = self.teacher(hidden, row)
        meters.mean("distill/divergence", float(divergence.detach().sum()), len(divergence))
        share = aggregate(
            divergence,
            row.sequence_index,
            row.sequence_lengths,
            totals,
            how=self.policy_gradient.config.aggregation,
            max_new_tokens=self.policy_gradient.max_new_tokens,
        )
        return loss + self.config.coef * share, meters


class HeldTeacher:
    """A teacher that this rank holds: the whole of its distribution counts."""

    def __init__(self, config: DistillConfig, student: Scorer, teacher: Scorer) -> None:
        """Check that the two models speak of the same tokens.

        Raises:
            ModelError: their vocabularies differ, or a head does more than a matrix product.
        """
        self.config = config
        self.student = student
        self.teacher = teacher
        self.vocabulary = _shared_vocabulary(student, teacher)

    def __call__(self, hidden: Tensor, row: RowTensors) -> Tensor:
        """Divergence [N] at the row's trained tokens."""
        assert row.packed is not None
        with torch.no_grad():
            teacher_hidden = self.teacher.predicting_states(row.packed)
        return distill_loss(
            hidden,
            _head(self.student)[: self.vocabulary],
            teacher_hidden,
            _head(self.teacher)[: self.vocabulary],
            divergence=self.config.divergence,
            beta=self.config.beta,
            temperature=self.student.temperature,
            chunk=self.student.config.head_chunk,
        )


class TopTeacher:
    """A teacher that has scored the rollouts elsewhere: reads the columns `teacher_ids` and `teacher_logp` [N, K]."""

    def __init__(self, config: DistillConfig, student: Scorer, tokenizer: Any) -> None:
        """Check that the two models speak of the same tokens.

        Raises:
            ModelError: the teacher's `tokenizer` is not the student's, or the student's head does more than a matrix
                product, or has no tokens beside the teacher's `top`.
        """
        path = config.teacher.path
        _check_tokenizers(student.policy.tokenizer, tokenizer, path)
        _check_head(student)
        self.config = config
        self.student = student
        if config.top >= whole_shape(_head(student))[0]:
            raise ModelError(
                f"algorithm.distill.top={config.top} covers the whole vocabulary of "
                f"{whole_shape(_head(student))[0]} tokens: lower algorithm.distill.top"
            )

    def __call__(self, hidden: Tensor, row: RowTensors) -> Tensor:
        """Divergence [N] at the row's trained tokens."""
        return top_distill_loss(
            hidden,
            _head(self.student),
            row.columns["teacher_ids"],
            row.columns["teacher_logp"],
            divergence=self.config.divergence,
            beta=self.config.beta,
            chunk=self.student.config.head_chunk,
        )


def _head(scorer: Scorer) -> Tensor:
    return cast(PolicyModel, scorer.policy).head().weight


def _shared_vocabulary(student: Scorer, teacher: Scorer) -> int:
    """Rows of the two heads that stand for tokens: a head may be padded beyond its tokenizer."""
    _check_tokenizers(
        student.policy.tokenizer, teacher.policy.tokenizer, teacher.policy.config.path
    )
    for scorer in (student, teacher):
        _check_head(scorer)
    return min(whole_shape(_head(scorer))[0] for scorer in (student, teacher))


def _check_tokenizers(student: Any, teacher: Any, path: str) -> None:
    tokens = [tokenizer.get_vocab() for tokenizer in (student, teacher)]
    if tokens[0] != tokens[1]:
        raise ModelError(
            f"algorithm.distill.teacher.path={path}: its tokenizer is not the student's "
            f"({len(tokens[1])} and {len(tokens[0])} tokens): use a teacher of the same model family"
        )


def _check_head(scorer: Scorer) -> None:
    head = cast(PolicyModel, scorer.policy).head()
    if head.bias is not None or head.softcap is not None or head.scale != 1.0:
        raise ModelError(
            f"distillation does not support the output head of {scorer.policy.config.path}: it has a bias, "
            "a scale or a soft cap"
        )
