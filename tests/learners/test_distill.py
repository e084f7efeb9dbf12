"""On-policy distillation against a plain forward of each response, and under every way to cut a batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from medray.config.algorithms.grpo import Grpo
from medray.config.algorithms.registry import checked_algorithm
from medray.config.learner import LearnerConfig
from medray.config.model import ModelConfig
from medray.config.optim import OptimConfig
from medray.errors import ModelError
from medray.learners.learner import Learner
from medray.learners.objectives.distill import Distill, HeldTeacher, TopTeacher
from medray.learners.objectives.policy_gradient import PolicyGradient
from medray.learners.scorer import Scorer
from medray.models.load import load_policy
from medray.types import PromptTree, StepTotals
from tests.support.tiny import save_tiny_model
from tests.support.trees import random_tree, unshare

SHAPE = [(11, [3, 7, 12, 1]), (4, [2, 9])]
TOTALS = StepTotals(34, 6, 2)
TEMPERATURE = 0.7


@pytest.fixture(scope="module")
def teacher_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "teacher", seed=1, tied=False)


def _learner(model: Path, *, row_tokens: int = 4096, temperature: float = TEMPERATURE) -> Learner:
    return Learner(
        load_policy(ModelConfig(path=str(model)), seed=0),
        OptimConfig(),
        num_optim_steps=10,
        temperature=temperature,
        config=LearnerConfig(row_tokens=row_tokens, head_chunk=5),
    )


def _objective(
    learner: Learner, teacher: Path, *, advantage: str = "none", **distill: Any
) -> Distill:
    kind = "distill" if advantage == "none" else "grpo"
    config = checked_algorithm(
        {"kind": kind, "distill": {"teacher": {"path": str(teacher)}, **distill}}
    )
    assert config.distill is not None
    frozen = load_policy(config.distill.teacher, trainable=False)
    return Distill(
        PolicyGradient(config, 12),
        config.distill,
        learner.scorer,
        HeldTeacher(config.distill, learner.scorer, Scorer(frozen, temperature=TEMPERATURE)),
    )


def _trees(advantage: str = "none") -> list[PromptTree]:
    rng = np.random.default_rng(0)
    trees = [random_tree(rng, prompt, lengths) for prompt, lengths in SHAPE]
    if advantage == "none":
        for tree in trees:
            for continuation in tree.continuations:
                continuation.columns["advantage"][:] = 0
    return trees


def _step(
    learner: Learner, trees: list[PromptTree], objective: Any
) -> tuple[dict[str, float], torch.Tensor]:
    learner.optimizer.zero_grad()
    metrics = learner.forward_backward(trees, objective, TOTALS).values()
    return metrics, torch.cat([p.grad.flatten() for p in learner.parameters if p.grad is not None])


def _log_probs(model: Any, tree: PromptTree, g: int) -> torch.Tensor:
    answer = tree.continuations[g].token_ids
    ids = torch.as_tensor(np.concatenate([tree.prompt_ids, answer]), dtype=torch.long)[None]
    logits = model(input_ids=ids).logits[0, len(tree.prompt_ids) - 1 : -1]
    return (logits / TEMPERATURE).log_softmax(-1)


def _kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (p.exp() * (p - q)).sum()


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl", "jsd"])
def test_loss_and_gradient_are_those_of_a_plain_forward(
    tiny_model: Path, teacher_path: Path, divergence: str
) -> None:
    """KL(T || S), KL(S || T), or 0.3 KL(T || M) + 0.7 KL(S || M) with M = 0.3 T + 0.7 S; twice that over 34 tokens."""
    learner = _learner(tiny_model)
    objective = _objective(learner, teacher_path, divergence=divergence, beta=0.3, coef=2.0)
    metrics, grads = _step(learner, _trees(), objective)

    student = AutoModelForCausalLM.from_pretrained(tiny_model)
    teacher = AutoModelForCausalLM.from_pretrained(teacher_path)
    total = torch.zeros(())
    for tree in _trees():
        for g in range(len(tree.continuations)):
            s, t = _log_probs(student, tree, g), _log_probs(teacher, tree, g).detach()
            if divergence == "jsd":
                m = (0.3 * t.exp() + 0.7 * s.exp()).log()
                total = total + 0.3 * _kl(t, m) + 0.7 * _kl(s, m)
            else:
                total = total + (_kl(t, s) if divergence == "forward_kl" else _kl(s, t))
    (2 * total / 34).backward()
    assert metrics["loss/total"] == pytest.approx(2 * float(total.detach()) / 34, rel=1e-5)
    assert metrics["distill/divergence"] == pytest.approx(float(total.detach()) / 34, rel=1e-5)
    names = [name for name, _ in learner.policy.trainable()]
    own = dict(student.named_parameters())
    expected = torch.cat([own[name].grad.flatten() for name in names])
    torch.testing.assert_close(grads, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("advantage", ["none", "group"])
def test_a_step_does_not_depend_on_how_the_batch_is_cut(
    tiny_model: Path, teacher_path: Path, advantage: str
) -> None:
    trees = _trees(advantage)
    whole, small = _learner(tiny_model), _learner(tiny_model, row_tokens=16)
    metrics, grads = _step(whole, trees, _objective(whole, teacher_path, advantage=advantage))
    for learner, batch in [(small, trees), (whole, unshare(trees)), (whole, trees[::-1])]:
        objective = _objective(learner, teacher_path, advantage=advantage)
        other_metrics, other_grads = _step(learner, batch, objective)
        assert other_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-5)
        torch.testing.assert_close(other_grads, grads, rtol=1e-4, atol=1e-6)


def test_beside_a_policy_loss_the_gradients_add_up(tiny_model: Path, teacher_path: Path) -> None:
    learner, trees = _learner(tiny_model), _trees("group")
    _, policy = _step(learner, trees, PolicyGradient(Grpo(), 12))
    _, both = _step(learner, trees, _objective(learner, teacher_path, advantage="group", coef=0.5))
    _, alone = _step(learner, _trees(), _objective(learner, teacher_path, coef=0.5))
    assert float(policy.abs().max()) > 1e-4
    torch.testing.assert_close(both, policy + alone, rtol=1e-4, atol=1e-6)


def test_a_student_that_is_its_teacher_stays(tiny_model: Path) -> None:
    learner, trees = _learner(tiny_model), _trees()
    metrics, grads = _step(learner, trees, _objective(learner, tiny_model))
    assert metrics["distill/divergence"] == pytest.approx(0, abs=1e-6)
    assert float(grads.abs().max()) < 1e-6


def _taught(teacher: Path, trees: list[PromptTree], top: int) -> list[PromptTree]:
    """The trees with what a teacher's engine would have said of them."""
    model = AutoModelForCausalLM.from_pretrained(teacher)

    def known(tree: PromptTree, g: int) -> Any:
        one, size = tree.continuations[g], len(tree.prompt_ids)
        ids = torch.as_tensor(np.concatenate([tree.prompt_ids, one.token_ids]), dtype=torch.long)
        with torch.no_grad():
            logits = model(input_ids=ids[None]).logits[0, size - 1 : -1]
        likely = logits.log_softmax(-1).topk(top)
        columns = {
            "teacher_ids": likely.indices.numpy(), "teacher_logp": likely.values.numpy(),
        }  # fmt: skip
        return replace(one, columns={**one.columns, **columns})

    return [
        replace(t, continuations=tuple(known(t, g) for g in range(len(t.continuations))))
        for t in trees
    ]


def _top_objective(learner: Learner, teacher: Path, top: int) -> Distill:
    distill = {"teacher": {"path": str(teacher)}, "engine": "vllm", "top": top}
    config = checked_algorithm({"kind": "distill", "distill": distill})
    assert config.distill is not None
    tokenizer = learner.policy.tokenizer
    told = TopTeacher(config.distill, learner.scorer, tokenizer)
    return Distill(PolicyGradient(config, 12), config.distill, learner.scorer, told)


def test_a_teacher_told_of_is_the_teacher_that_is_held(
    tiny_model: Path, teacher_path: Path
) -> None:
    learner = _learner(tiny_model, temperature=1.0)
    held = HeldTeacher(
        _objective(learner, teacher_path).config,
        learner.scorer,
        Scorer(load_policy(ModelConfig(path=str(teacher_path)), trainable=False)),
    )
    objective = _objective(learner, teacher_path)
    objective.teacher = held
    metrics, grads = _step(learner, _trees(), objective)
    top = learner.policy.head().weight.shape[0] - 1
    taught = _taught(teacher_path, _trees(), top)
    other_metrics, other_grads = _step(learner, taught, _top_objective(learner, teacher_path, top))
    assert other_metrics == pytest.approx(metrics, rel=1e-4)
    # In float32 the one token that is left to "any other" is known to 1e-7 only.
    torch.testing.assert_close(other_grads, grads, rtol=1e-3, atol=1e-4)


def test_a_step_with_a_teacher_told_of_does_not_depend_on_the_cut(
    tiny_model: Path, teacher_path: Path
) -> None:
    trees = _taught(teacher_path, _trees(), 4)
    whole = _learner(tiny_model, temperature=1.0)
    small = _learner(tiny_model, temperature=1.0, row_tokens=16)
    metrics, grads = _step(whole, trees, _top_objective(whole, teacher_path, 4))
    for learner, batch in [(small, trees), (whole, unshare(trees)), (whole, trees[::-1])]:
        other_metrics, other_grads = _step(learner, batch, _top_objective(learner, teacher_path, 4))
        assert other_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-5)
        torch.testing.assert_close(other_grads, grads, rtol=1e-4, atol=1e-6)


def test_more_of_the_teacher_than_there_are_tokens_is_refused(
    tiny_model: Path, teacher_path: Path
) -> None:
    with pytest.raises(
        ModelError, match=r"algorithm.distill.top=100000 covers the whole vocabulary"
    ):
        _top_objective(_learner(tiny_model), teacher_path, 100000)


def test_a_teacher_of_another_vocabulary_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    other = save_tiny_model(tmp_path / "other")
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.add_tokens(["dyspnoea"])
    tokenizer.save_pretrained(other)
    with pytest.raises(ModelError, match="its tokenizer is not the student's"):
        _objective(_learner(tiny_model), other)
