"""What the ranks of a strategy do in processes of their own: steps, scores, export, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from medray.config.algorithms.grpo import Grpo
from medray.config.learner import LearnerConfig
from medray.config.model import ModelConfig
from medray.config.optim import OptimConfig
from medray.config.policy import KlConfig
from medray.learners.learner import Learner
from medray.learners.objectives.base import Objective
from medray.learners.objectives.distill import Distill, HeldTeacher
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.learners.scorer import Scorer
from medray.learners.strategies import make_strategy, zero
from medray.models.checkpoints.checkpoint import load_state, save_checkpoint
from medray.models.load import load_policy, load_reward_model
from medray.observability.meters import Meters
from medray.storage.run_folder import checkpoints
from medray.types import PromptTree
from tests.support.objectives import CASES
from tests.support.ppo_steps import PpoRank, ppo_model
from tests.support.trees import random_tree

NUM_STEPS = 4
OPTIM = OptimConfig(lr=1e-3, weight_decay=0.1, max_grad_norm=0.5, schedule="linear", warmup_steps=1)
STRATEGIES: dict[str, dict[str, Any]] = {
    "ddp": {"strategy": "ddp"},
    "fsdp2": {"strategy": "fsdp2"},
    "zero1": {"strategy": "zero1"},
    "zero2": {"strategy": "zero2"},
    "zero3": {"strategy": "zero3"},
    "zero2-offload": {"strategy": "zero2", "offload_optimizer": True},
    "zero3-offload": {"strategy": "zero3", "offload_optimizer": True},
}


def groups(seed: int) -> list[PromptTree]:
    """Prompts with one to four rewarded responses and reference log-probabilities."""
    rng = np.random.default_rng(seed)
    shapes = [(11, [3, 7, 12, 1]), (20, [5, 5, 5, 5]), (4, [2, 9, 4, 12]), (9, [3])]
    return [random_tree(rng, prompt, lengths, reference=True) for prompt, lengths in shapes]


@dataclass(frozen=True)
class Scenario:
    """What is trained, and on what."""

    objective: Callable[[Learner], Objective]
    batch: Callable[[int], list[PromptTree]]
    tied: bool = True
    reward_model: bool = False
    keys: dict[str, Any] = field(default_factory=dict)  # of the model

    def learner(
        self, models: Path, config: LearnerConfig, ranks: int, checkpoint: Path | None = None
    ) -> Learner:
        """A learner of `ranks`, new or as it was saved."""
        load: Any = load_reward_model if self.reward_model else load_policy
        path = models / ("tied" if self.tied else "untied")
        model = load(
            ModelConfig(path=str(path), **self.keys),
            seed=0,
            checkpoint=checkpoint and str(checkpoint),
        )
        learner = Learner(
            model, OPTIM, num_optim_steps=10, config=config, strategy=make_strategy(config, ranks)
        )
        if checkpoint is not None:
            learner.restore(load_state(checkpoint))
        return learner


def policy_gradient(_: Learner) -> Objective:
    """GRPO's with a KL penalty."""
    return PolicyGradient(Grpo(kl=KlConfig(coef=0.1)), 12)


def distillation(learner: Learner) -> Objective:
    """From the untied model, beside a policy loss: it uses the student's head twice a row."""
    teacher_path = Path(learner.policy.config.path).parent / "untied"
    config = Grpo.model_validate({"distill": {"teacher": {"path": str(teacher_path)}}})
    assert config.distill is not None
    teacher = Scorer(load_policy(config.distill.teacher, trainable=False), config=learner.config)
    held = HeldTeacher(config.distill, learner.scorer, teacher)
    return Distill(PolicyGradient(config, 12), config.distill, learner.scorer, held)


def supervised(name: str, **keys: Any) -> Scenario:
    """One of the supervised objectives."""
    case = CASES[name]
    return Scenario(lambda _: case.objective, case.batch, **keys)


SCENARIOS: dict[str, Scenario] = {
    "grpo": Scenario(policy_gradient, groups),
    "grpo-lora": Scenario(policy_gradient, groups, keys={"lora": {"rank": 4}}),
    "distill": Scenario(distillation, groups),
    "sft-untied": supervised("sft", tied=False),
    "sft-checkpointed": supervised("sft", keys={"gradient_checkpointing": True}),
    "dpo-unshared": supervised("dpo", keys={"attention": "plain"}),
    "kto": supervised("kto"),
    "rm": supervised("rm", reward_model=True),
    "prm": supervised("prm", reward_model=True),
}
RESUMED = ("grpo", "grpo-lora", "rm")
PPO_LAYOUTS: dict[str, dict[str, bool]] = {
    "ppo": {"lora": False, "shared": False},
    "ppo-lora": {"lora": True, "shared": False},
    "ppo-shared": {"lora": True, "shared": True},  # needs the whole base on every rank
}


@dataclass
class Outcome:
    """What one rank saw."""

    steps: list[Meters] = field(default_factory=list)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    state: dict[str, torch.Tensor] = field(default_factory=dict)
    scores: list[Any] = field(default_factory=list)


def share(trees: list[PromptTree], step: int, rank: int, ranks: int) -> list[PromptTree]:
    """Uneven parts of a batch; in the last step the second rank has nothing."""
    if ranks == 1:
        return trees
    cut = len(trees) if step == NUM_STEPS - 1 else len(trees) - 1
    return [trees[:cut], trees[cut:]][rank] if rank < 2 else []


def train(learner: Learner, scenario: Scenario, steps: range, rank: int, ranks: int) -> Outcome:
    """Take steps, then look at everything that leaves the learner."""
    outcome, objective = Outcome(), scenario.objective(learner)
    for step in steps:
        trees = share(scenario.batch(step), step, rank, ranks)
        outcome.steps.append(learner.train_step(trees, objective))
    score = learner.scorer.scores if scenario.reward_model else learner.scorer.logprobs
    # Ranks score different numbers of trees.
    outcome.scores = list(score(scenario.batch(9)[: 1 + rank]))
    outcome.weights = {name: tensor.clone() for name, tensor in learner.weights()}
    outcome.state = {name: tensor.clone() for name, tensor in learner.state()["tensors"]}
    return outcome


def has_layout(strategy: str, name: str) -> bool:
    """Whether PPO's models can be held so under a strategy."""
    return not (PPO_LAYOUTS[name]["shared"] and learner_config(strategy).shards_weights)


def train_ppo(models: Path, config: LearnerConfig, name: str, rank: int, ranks: int) -> Outcome:
    """Steps of PPO with both its trained models."""
    layout = PPO_LAYOUTS[name]
    model = ppo_model(models, lora=layout["lora"])
    own = PpoRank(model, OPTIM, config, ranks, shared=layout["shared"])
    outcome = Outcome()
    for step in range(NUM_STEPS):
        outcome.steps.append(own.step(step, lambda trees, n=step: share(trees, n, rank, ranks)))
    outcome.scores = list(own.values(9))
    for part, learner in (("policy", own.policy), ("critic", own.critic)):
        outcome.weights |= {f"{part}.{name}": t.clone() for name, t in learner.weights()}
        outcome.state |= {f"{name}.{part}": t.clone() for name, t in learner.state()["tensors"]}
    return outcome


def learner_config(strategy: str) -> LearnerConfig:
    """Rows of 40 tokens, so that a step has several."""
    keys = STRATEGIES.get(strategy, {"strategy": strategy})
    return LearnerConfig(row_tokens=40, head_chunk=16, **keys)


def half(learner: Learner, scenario: Scenario, out: Path, rank: int, ranks: int) -> Path:
    """The first half of the steps, and a checkpoint of it."""
    train(learner, scenario, range(NUM_STEPS // 2), rank, ranks)
    return save(learner, out, rank)


def save(learner: Learner, out: Path, rank: int) -> Path:
    """Write a checkpoint, by rank 0."""
    state = learner.state()
    return save_checkpoint(out, learner.step, learner.policy, state, keep_last=1, writer=rank == 0)


def run_rank(rank: int, ranks: int, folder: str) -> None:
    """Every scenario under every strategy; writes `folder`/strategy.rank.pt."""
    torch.set_num_threads(1)
    zero.PERSISTENT_NUMEL = 0  # the model is so small that nothing would be split
    path = Path(folder)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=ranks
    )
    for strategy in STRATEGIES:
        config, outcomes = learner_config(strategy), {}
        for name, scenario in SCENARIOS.items():
            learner = scenario.learner(path, config, ranks)
            outcomes[name] = train(learner, scenario, range(NUM_STEPS), rank, ranks)
            save(learner, path / f"{strategy}.{name}", rank)
        for name in PPO_LAYOUTS:
            if has_layout(strategy, name):
                outcomes[name] = train_ppo(path, config, name, rank, ranks)
        for name in RESUMED:
            scenario, rest = SCENARIOS[name], range(NUM_STEPS // 2, NUM_STEPS)
            learner = scenario.learner(path, config, ranks)
            saved = half(learner, scenario, path / f"{strategy}.{name}.half", rank, ranks)
            dist.barrier()
            [alone] = checkpoints(path / f"alone.{name}.half")
            for origin, checkpoint in (("its own", saved), ("one process", alone)):
                learner = scenario.learner(path, config, ranks, checkpoint)
                outcomes[f"{name} from {origin}"] = train(learner, scenario, rest, rank, ranks)
        torch.save(outcomes, path / f"{strategy}.{rank}.pt")
    dist.destroy_process_group()
