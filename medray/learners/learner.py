"""The learner: a model, its optimizer, and the three things done to them. No Ray in here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from medray.config.learner import LearnerConfig
from medray.config.optim import OptimConfig
from medray.data.batches.packing import PackedRow, build_row, pack
from medray.data.batches.trees import count
from medray.errors import DivergedError
from medray.learners.objectives.base import READS_WHOLE, Objective, RowTensors, StepwideObjective
from medray.learners.rng import restore_rng, rng_states
from medray.learners.schedule import learning_rate
from medray.learners.scorer import Scorer
from medray.learners.strategies import SingleProcess, Strategy
from medray.models.checkpoints.export import named_weights
from medray.models.neftune import EmbeddingNoise
from medray.models.packed import PackedModel
from medray.observability.meters import Meters
from medray.types import PromptTree, StepTotals


class Learner:
    """Trains a policy or a reward model on trees of tokens.

    `forward_backward` may be called any number of times before `optim_step`; since every objective divides by
    `StepTotals`, how a batch is cut into calls, rows and ranks does not change the step. `train_step` is the
    whole of it for a rank that holds its share of the batch.
    """

    def __init__(
        self,
        policy: PackedModel,
        optim: OptimConfig,
        *,
        num_optim_steps: int,
        first_step: int = 0,
        temperature: float = 1.0,
        config: LearnerConfig | None = None,
        strategy: Strategy | None = None,
        neftune_alpha: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.policy = policy
        self.optim = optim
        self.num_optim_steps = num_optim_steps
        self.first_step = first_step  # of the job's optimizer steps, this learner's first
        self.config = config or LearnerConfig()
        self.scorer = Scorer(policy, temperature=temperature, config=self.config)
        self.strategy = strategy or SingleProcess()
        self.neftune_alpha = neftune_alpha
        self.seed = seed
        self.step = 0  # optimizer steps taken
        self.strategy.take(policy, optim)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained, as this rank holds it."""
        return [p for _, p in self.policy.trainable()]

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the sharding strategy."""
        return self.strategy.optimizer

    def train_step(self, trees: Sequence[PromptTree], objective: Objective) -> Meters:
        """One optimizer step over this rank's trees and those of all other ranks, which must call it too.

        Returns:
            This rank's metrics; ranks may merge them.

        Raises:
            DivergedError: the gradient norm is not finite; weights are left as they were.
        """
        trees, objective = self.prepare(trees, objective)
        meters = self.forward_backward(trees, objective, self.totals(trees))
        step = self.optim_step()
        return meters.merge(step) if self.strategy.rank == 0 else meters

    def prepare(
        self, trees: Sequence[PromptTree], objective: Objective
    ) -> tuple[Sequence[PromptTree], Objective]:
        """What to train on and by which objective, once what it needs of the whole step is known.

        Every rank must call it once a step, with all its trees of the step, if any does.
        """
        if not isinstance(objective, StepwideObjective):
            return trees, objective
        return objective.prepare(self.scorer, trees, self.strategy)

    def totals(self, trees: Sequence[PromptTree]) -> StepTotals:
        """Denominators of a step of which this rank holds `trees`; every rank must call it."""
        own = count(trees)
        sums = torch.tensor(
            [own.num_tokens, own.num_sequences, own.num_groups], dtype=torch.float64
        )
        return StepTotals(*(int(n) for n in self.strategy.sum_values(sums).tolist()))

    def forward_backward(
        self, trees: Sequence[PromptTree], objective: Objective, totals: StepTotals
    ) -> Meters:
        """Add the gradient of `objective` over `trees`; returns metrics that ranks may merge."""
        noise = None
        if self.neftune_alpha > 0:
            noise = EmbeddingNoise(self.neftune_alpha, (self.seed, self.step))
        meters = Meters()
        with self.policy.training():
            for loss in self._losses(trees, objective, totals, noise, meters):
                self.strategy.backward(loss)
        return meters

    @torch.no_grad()
    def evaluate(self, trees: Sequence[PromptTree], objective: Objective) -> Meters:
        """The objective's loss and metrics over the trees of all ranks, each of which must call it."""
        trees, objective = self.prepare(trees, objective)
        meters = Meters()
        for _ in self._losses(trees, objective, self.totals(trees), None, meters):
            pass
        return meters

    def _losses(
        self,
        trees: Sequence[PromptTree],
        objective: Objective,
        totals: StepTotals,
        noise: EmbeddingNoise | None,
        meters: Meters,
    ) -> Iterator[Tensor]:
        whole = objective.output in READS_WHOLE
        rows = [
            build_row(r, whole=whole or noise is not None, merge=noise is None)
            for r in pack(
                trees,
                self.config.row_tokens,
                split=objective.separable,
                shared=self.policy.sharing != "plain",
            )
        ]
        if not whole:
            rows = [row for row in rows if len(row.targets)]

        def compute(row: PackedRow) -> Tensor:
            values, extra = self.scorer.outputs(row, objective.output, noise)
            loss, row_meters = objective(values, RowTensors.of(row, values.device, extra), totals)
            # Rows' shares of a step add up to one, so several optimizer steps average.
            share = len(row.sequence_lengths) / totals.num_sequences
            meters.merge(row_meters).mean("loss/total", float(loss.detach()), share)
            return loss

        for _, loss in self.scorer.over(rows, compute):
            yield loss

    def optim_step(self, place: int | None = None) -> Meters:
        """Sum gradients over ranks, clip them, and take one AdamW step.

        Args:
            place: which of the job's optimizer steps this is, for the learning rate (0-based). A job that skips steps,
                for lack of a signal or after too large a KL, thus still ends at the end of its schedule. None: the
                one after the last step taken.

        Raises:
            DivergedError: the gradient norm is not finite; weights are left as they were.
        """
        at = self.step if place is None else place - self.first_step
        rate = learning_rate(self.optim, at, self.num_optim_steps)
        norm = self.strategy.step(rate)
        if not math.isfinite(norm):
            raise DivergedError(
                f"optimizer step {self.step + 1}: gradient norm is {norm}; lower optim.lr or check the rewards"
            )
        self.step += 1
        meters = Meters()
        meters.max("optim/grad_norm", norm)
        meters.max("optim/lr", rate)
        return meters

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every stored weight under its Hugging Face name, adapters merged.

        Where weights are spread over ranks, every rank must go through all of it.
        """
        return named_weights(self.policy)

    def state(self) -> dict[str, Any]:
        """Everything beside the weights that the next step depends on: `tensors`, and a dict `scalars`.

        `tensors` are pairs of name and whole tensor, made as they are asked for: every rank must call this and go
        through them. They do not depend on the strategy, so another one, or other ranks, may take them back.
        """
        return {
            "tensors": chain(rng_states(self.strategy), self.strategy.optimizer_state()),
            "scalars": {"step": self.step},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave, `tensors` by name; weights are loaded with the model.

        The next steps are those of an undisturbed run, bit for bit with the same strategy and number of ranks. A rank
        that did not exist keeps the random state its model was loaded with.
        """
        self.step = int(state["scalars"]["step"])
        self.strategy.load_optimizer_state(state["tensors"])
        restore_rng(state["tensors"], self.strategy.rank)
