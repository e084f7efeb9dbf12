"""One case for every supervised objective: its settings and a random batch it can train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medray.config.base import Section
from medray.config.dpo import PreferenceConfig
from medray.config.kto import KtoConfig
from medray.config.learner import LearnerConfig
from medray.config.model import ModelConfig
from medray.config.optim import OptimConfig
from medray.config.orpo import OddsRatioConfig
from medray.config.prm import StepLossConfig
from medray.config.rm import BradleyTerryConfig
from medray.config.sft import CrossEntropyConfig
from medray.data.batches.trees import labelled_tree, pair_tree, step_tree, with_mismatched
from medray.learners.learner import Learner
from medray.learners.methods import METHODS
from medray.learners.objectives.base import Objective
from medray.learners.objectives.registry import build_objective
from medray.learners.reference import add_reference
from medray.learners.strategies import Strategy
from medray.models.load import load_policy, load_reward_model
from medray.types import Continuation, PromptTree
from tests.support.trees import VOCABULARY

SHAPES = [(11, (3, 7)), (20, (5, 5)), (4, (2, 12)), (6, (9, 1))]


@dataclass(frozen=True)
class Case:
    """A method, its settings, and what makes its batch from a seed."""

    method: str
    loss: Section
    batch: Callable[[int], list[PromptTree]]

    @property
    def objective(self) -> Objective:
        return build_objective(self.method, self.loss)

    def learner(
        self,
        model: Path,
        *,
        row_tokens: int = 4096,
        lr: float = 1e-3,
        strategy: Strategy | None = None,
        **keys: Any,
    ) -> Learner:
        """A fresh learner of the right kind of model; `keys` go to its `ModelConfig`."""
        load = load_reward_model if METHODS[self.method].model == "reward" else load_policy
        return Learner(
            load(ModelConfig(path=str(model), **keys), seed=0), OptimConfig(lr=lr), num_optim_steps=20,
            config=LearnerConfig(row_tokens=row_tokens, head_chunk=16), strategy=strategy,
        )  # fmt: skip


def dialogues(seed: int) -> list[PromptTree]:
    """One continuation a prompt, some of its tokens context only; one text without a prompt."""
    rng = np.random.default_rng(seed)
    trees = [PromptTree(_ids(rng, p), (_response(rng, n, gaps=True),)) for p, (n, _) in SHAPES]
    text = _response(rng, 14)
    text.trained[0] = False
    return [*trees, PromptTree(np.zeros(0, np.int32), (text,))]


def pairs(seed: int) -> list[PromptTree]:
    """Chosen and rejected responses with margins and reference log-probabilities."""
    rng = np.random.default_rng(seed)
    trees = [
        pair_tree(
            _ids(rng, p), _response(rng, c), _response(rng, r), margin=float(rng.uniform(0, 1))
        )
        for p, (c, r) in SHAPES
    ]
    return [_with_random_reference(rng, tree) for tree in trees]


def labelled(seed: int) -> list[PromptTree]:
    """One or two labelled responses a prompt, and a mismatched one."""
    rng = np.random.default_rng(seed)
    trees = [
        labelled_tree(
            _ids(rng, p),
            [(_response(rng, n), (i + j) % 2 == 0) for j, n in enumerate(sizes[: 1 + i % 2])],
        )
        for i, (p, sizes) in enumerate(SHAPES)
    ]
    return [_with_random_reference(rng, tree) for tree in with_mismatched(trees)]


def solutions(seed: int) -> list[PromptTree]:
    """Dialogues with steps that end at drawn tokens: wrong, right, of a value between, or not labelled."""
    rng = np.random.default_rng(seed)
    trees = []
    for prompt, sizes in SHAPES:
        ids = _ids(rng, prompt + sum(sizes))
        ends = prompt + np.sort(rng.choice(sum(sizes), 4, replace=False))
        value = float(rng.uniform(0, 1))
        trees.append(step_tree(ids, ends, [1.0, None, value, float(rng.integers(0, 2))]))
    return trees


CASES: dict[str, Case] = {
    "sft": Case("sft", CrossEntropyConfig(), dialogues),
    "sft-sequence": Case("sft", CrossEntropyConfig(aggregation="sequence"), dialogues),
    "dpo": Case("dpo", PreferenceConfig(), pairs),
    "dpo-conservative": Case("dpo", PreferenceConfig(label_smoothing=0.1, sft_weight=0.5), pairs),
    "dpo-robust": Case("dpo", PreferenceConfig(kind="robust", label_smoothing=0.1), pairs),
    "ipo": Case("dpo", PreferenceConfig(kind="ipo"), pairs),
    "exo": Case("dpo", PreferenceConfig(kind="exo", label_smoothing=1e-3), pairs),
    "nca": Case("dpo", PreferenceConfig(kind="nca"), pairs),
    "sppo": Case("dpo", PreferenceConfig(kind="sppo"), pairs),
    "apo-zero": Case("dpo", PreferenceConfig(kind="apo_zero"), pairs),
    "apo-down": Case("dpo", PreferenceConfig(kind="apo_down"), pairs),
    "discopop": Case("dpo", PreferenceConfig(kind="discopop"), pairs),
    "bco": Case("dpo", PreferenceConfig(kind="bco"), pairs),
    "aot": Case("dpo", PreferenceConfig(kind="aot", label_smoothing=0.1), pairs),
    "aot-unpaired": Case("dpo", PreferenceConfig(kind="aot_unpaired"), pairs),
    "wpo": Case("dpo", PreferenceConfig(policy_weighting=True, sft_weight=0.5), pairs),
    "dpo-forward-kl": Case("dpo", PreferenceConfig(divergence="forward_kl", length_normalised=True), pairs),
    "dpo-js": Case("dpo", PreferenceConfig(divergence="js"), pairs),
    "dpo-alpha": Case("dpo", PreferenceConfig(divergence="alpha", length_normalised=True), pairs),
    "hinge": Case("dpo", PreferenceConfig(kind="hinge"), pairs),
    "simpo": Case("dpo", PreferenceConfig(kind="simpo", beta=2.0, gamma=0.5), pairs),
    "orpo": Case("orpo", OddsRatioConfig(), pairs),
    "kto": Case("kto", KtoConfig(desirable_weight=1.2), labelled),
    "kto-zero": Case("kto", KtoConfig(reference_point="zero"), labelled),
    "prm": Case("prm", StepLossConfig(), solutions),
    "prm-hard": Case("prm", StepLossConfig(labels="hard", aggregation="solution"), solutions),
    "rm": Case("rm", BradleyTerryConfig(centring=0.01), pairs),
}  # fmt: skip


def _response(rng: np.random.Generator, size: int, *, gaps: bool = False) -> Continuation:
    trained = np.ones(size, dtype=np.bool_)
    if gaps and size > 4:
        trained[2:4] = False
    return Continuation(_ids(rng, size), trained)


def _with_random_reference(rng: np.random.Generator, tree: PromptTree) -> PromptTree:
    sizes = [int(c.trained.sum()) for c in tree.continuations]
    return add_reference(tree, [rng.normal(-5.5, 0.3, n).astype(np.float32) for n in sizes])


def _ids(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.integers(3, VOCABULARY, size).astype(np.int32)
