"""Losses and metrics of a whole step against slow loops over the model's log-probabilities or scores."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from medray.errors import DataError
from medray.learners.learner import Learner
from medray.types import Continuation, PromptTree
from tests.golden import reference
from tests.support.objectives import CASES

Scored = list[tuple[list[float], ...]]


def _logps(learner: Learner, trees: list[PromptTree]) -> Scored:
    return [tuple(list(map(float, c)) for c in tree) for tree in learner.scorer.logprobs(trees)]


def _column(trees: list[PromptTree], name: str) -> Scored:
    return [
        tuple(list(map(float, c.columns[name][c.trained])) for c in t.continuations) for t in trees
    ]


def _step(name: str, model: Path) -> tuple[Learner, list[PromptTree], dict[str, float]]:
    case = CASES[name]
    learner, batch = case.learner(model, row_tokens=40), case.batch(3)
    return learner, batch, learner.evaluate(batch, case.objective).values()


def test_cross_entropy(tiny_model: Path) -> None:
    learner, trees, found = _step("sft", tiny_model)
    tokens = [lp for tree in _logps(learner, trees) for c in tree for lp in c]
    assert len(tokens) == sum(int(c.trained.sum()) for t in trees for c in t.continuations)
    assert found["loss/total"] == pytest.approx(-fmean(tokens), rel=1e-6)
    assert found["lm/nll_nats"] == pytest.approx(-fmean(tokens), rel=1e-6)
    by_sequence = _step("sft-sequence", tiny_model)[2]["loss/total"]
    means = [-fmean(c) for tree in _logps(learner, trees) for c in tree]
    assert by_sequence == pytest.approx(fmean(means), rel=1e-6)


def test_token_accuracy_is_the_share_of_most_likely_tokens(tiny_model: Path) -> None:
    """Continuations are the model's own greedy choices, but for one token."""
    case = CASES["sft"]
    learner, ids = case.learner(tiny_model), [5, 9, 77]
    for _ in range(2):
        ids.append(_greedy(learner, ids))
    ids[4] = (ids[4] + 1) % 320
    own = np.array(ids[3:5], np.int32)
    tree = PromptTree(np.array(ids[:3], np.int32), (Continuation(own, np.ones(2, np.bool_)),))
    assert learner.evaluate([tree], case.objective).values()["lm/token_accuracy"] == 0.5


def _greedy(learner: Learner, ids: list[int]) -> int:
    """The most likely next token, by scoring every token of the vocabulary."""
    one = np.ones(1, np.bool_)
    tree = PromptTree(
        np.array(ids, np.int32),
        tuple(Continuation(np.array([v], np.int32), one) for v in range(320)),
    )
    [scores] = learner.scorer.logprobs([tree])
    return int(np.argmax([float(s[0]) for s in scores]))


STEP_PAIRS = ("bco", "aot", "aot-unpaired")
PAIRS = [
    name
    for name, case in CASES.items()
    if case.method in ("dpo", "orpo") and name not in (*STEP_PAIRS, "wpo")
]


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(tiny_model: Path, name: str) -> None:
    learner, trees, found = _step(name, tiny_model)
    losses, margins = [], []
    for (chosen, rejected), (chosen_ref, rejected_ref) in zip(
        _logps(learner, trees), _column(trees, "ref_logp"), strict=True
    ):
        loss, margin = _pair_loss(name, chosen, rejected, chosen_ref, rejected_ref)
        losses.append(loss)
        margins.append(margin)
    assert found["loss/total"] == pytest.approx(fmean(losses), rel=1e-6)
    assert found["preference/accuracy"] == fmean(m > 0 for m in margins)
    if name not in ("orpo", "simpo") and "divergence" not in CASES[name].loss.model_fields_set:
        assert found["preference/margin"] == pytest.approx(0.1 * fmean(margins), rel=1e-6)


def _pair_loss(name: str, *logps: list[float]) -> tuple[float, float]:
    """From the papers' equations: arXiv:2305.18290 eq. 7 and those of its relatives."""
    chosen, rejected, chosen_ref, rejected_ref = logps
    margin = sum(chosen) - sum(chosen_ref) - sum(rejected) + sum(rejected_ref)
    by_token = fmean(chosen) - fmean(chosen_ref) - fmean(rejected) + fmean(rejected_ref)
    if name == "dpo":
        return reference.dpo(margin, 0.1), margin
    if name == "dpo-conservative":
        return reference.dpo(margin, 0.1, 0.1) - 0.5 * fmean(chosen), margin
    if name == "dpo-robust":
        return reference.robust_dpo(margin, 0.1, 0.1), margin
    if name == "ipo":
        return (by_token - 1 / (2 * 0.1)) ** 2, by_token
    w, x = sum(chosen) - sum(chosen_ref), sum(rejected) - sum(rejected_ref)
    if name in reference.PAIR_LOSSES:
        return reference.PAIR_LOSSES[name](w, x, 0.1), margin
    if name == "dpo-js":
        margin = math.log(2 / (1 + math.exp(-w))) - math.log(2 / (1 + math.exp(-x)))
        return reference.dpo(margin, 0.1), margin
    w, x = fmean(chosen) - fmean(chosen_ref), fmean(rejected) - fmean(rejected_ref)
    if name == "dpo-forward-kl":
        return reference.dpo(math.exp(-x) - math.exp(-w), 0.1), math.exp(-x) - math.exp(-w)
    if name == "dpo-alpha":
        margin = (math.exp(-0.5 * x) - math.exp(-0.5 * w)) / 0.5
        return reference.dpo(margin, 0.1), margin
    if name == "hinge":
        return max(0.0, 1 - 0.1 * margin), margin
    gap = fmean(chosen) - fmean(rejected)
    if name == "simpo":
        return -math.log(reference.sigma(2.0 * gap - 0.5)), gap
    return -fmean(chosen) + 0.1 * reference.odds_ratio_loss(fmean(chosen), fmean(rejected)), gap


@pytest.mark.parametrize("name", STEP_PAIRS)
def test_pairs_that_are_compared_with_all_of_the_step(tiny_model: Path, name: str) -> None:
    learner, trees, found = _step(name, tiny_model)
    refs = _column(trees, "ref_logp")
    policy = [(sum(c), sum(r)) for c, r in _logps(learner, trees)]
    reference_ = [(sum(c), sum(r)) for c, r in refs]
    gains = [(c - rc, r - rr) for (c, r), (rc, rr) in zip(policy, reference_, strict=True)]
    if name == "bco":
        expected = reference.bco(gains, 0.1)
    elif name == "aot":
        margins = ([c - r for c, r in pairs] for pairs in (policy, reference_))
        expected = reference.aot(*margins, 0.1, 0.1)
    else:
        expected = reference.aot([w for w, _ in gains], [x for _, x in gains], 0.1)
    assert found["loss/total"] == pytest.approx(expected, rel=1e-6)


def test_policy_weights(tiny_model: Path) -> None:
    learner, trees, found = _step("wpo", tiny_model)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    losses, weights = [], []
    scored = zip(trees, _logps(learner, trees), _column(trees, "ref_logp"), strict=True)
    for tree, (chosen, rejected), (chosen_ref, rejected_ref) in scored:
        margin = sum(chosen) - sum(chosen_ref) - sum(rejected) + sum(rejected_ref)
        weights.append(
            reference.wpo_weight([_distributions(plain, tree, c) for c in tree.continuations])
        )
        losses.append(weights[-1] * reference.dpo(margin, 0.1) - 0.5 * fmean(chosen))
    assert min(weights) < 0.99, "some pairs are unlikely"
    assert found["preference/policy_weight"] == pytest.approx(fmean(weights), rel=1e-5)
    assert found["loss/total"] == pytest.approx(fmean(losses), rel=1e-5)


def _distributions(
    model: Any, tree: PromptTree, continuation: Continuation
) -> tuple[list[list[float]], list[int]]:
    """The model's log-distributions before the tokens of a continuation, from plain logits, and the tokens."""
    ids = np.concatenate([tree.prompt_ids, continuation.token_ids])
    with torch.no_grad():
        logits = model(input_ids=torch.as_tensor(ids[None].astype(np.int64))).logits
    first = len(tree.prompt_ids) - 1
    rows = logits[0, first:-1].double().log_softmax(-1).tolist()
    return rows, continuation.token_ids.tolist()


@pytest.mark.parametrize("name", ["kto", "kto-zero"])
def test_kto(tiny_model: Path, name: str) -> None:
    learner, trees, found = _step(name, tiny_model)
    columns = [_column(trees, c) for c in ("ref_logp", "desirable", "mismatched")]
    flat = [
        (sum(logp) - sum(ref), desirable[0] == 1, mismatched[0] == 1)
        for tree in zip(_logps(learner, trees), *columns, strict=True)
        for logp, ref, desirable, mismatched in zip(*tree, strict=True)
    ]
    foreign = [ratio for ratio, _, mismatched in flat if mismatched]
    assert len(foreign) == len(trees)
    z = max(0.0, fmean(foreign)) if name == "kto" else 0.0
    weight = {True: 1.2 if name == "kto" else 1.0, False: 1.0}
    own = [(ratio, good) for ratio, good, mismatched in flat if not mismatched]
    assert len({good for _, good in own}) == 2
    losses = [reference.kto(ratio, good, z, 0.1, weight[good]) for ratio, good in own]
    assert found["loss/total"] == pytest.approx(fmean(losses), rel=1e-6)
    assert found["kto/reference_point_nats"] == pytest.approx(z, rel=1e-6)
    good_rewards = [0.1 * ratio for ratio, good in own if good]
    assert found["kto/desirable_reward"] == pytest.approx(fmean(good_rewards), rel=1e-6)


def test_kto_reference_point_rises_above_zero(tiny_model: Path) -> None:
    """With a reference that finds everything far less likely, the estimate is positive and moves the loss."""
    case = CASES["kto"]
    learner, trees = case.learner(tiny_model), case.batch(3)
    for tree in trees:
        for continuation in tree.continuations:
            continuation.columns["ref_logp"][:] = -9.0
    found = learner.evaluate(trees, case.objective).values()
    foreign = [
        float(np.sum(logp)) + 9.0 * len(logp)
        for tree, scored in zip(trees, learner.scorer.logprobs(trees), strict=True)
        for c, logp in zip(tree.continuations, scored, strict=True)
        if c.columns["mismatched"][0] == 1
    ]
    assert fmean(foreign) > 1
    assert found["kto/reference_point_nats"] == pytest.approx(fmean(foreign), rel=1e-6)


def test_reward_model(tiny_model: Path) -> None:
    learner, trees, found = _step("rm", tiny_model)
    scores = learner.scorer.scores(trees)
    margins = [float(t.continuations[0].columns["margin"][0]) for t in trees]
    losses = [
        reference.bradley_terry(c, r, m, 0.01) for (c, r), m in zip(scores, margins, strict=True)
    ]
    assert found["loss/total"] == pytest.approx(fmean(losses), rel=1e-6)
    assert found["reward/accuracy"] == fmean(c > r for c, r in scores)


@pytest.mark.parametrize("name", ["prm", "prm-hard"])
def test_process_reward_model(tiny_model: Path, name: str) -> None:
    """Scores are read at the steps' own last tokens: as a reward model reads the text up to there."""
    learner, trees, found = _step(name, tiny_model)
    losses, right, first = [], [], []
    for tree in trees:
        [whole] = tree.continuations
        ends = np.flatnonzero(whole.trained)
        labels = whole.columns["step_label"][ends].tolist()
        prefixes = [PromptTree(tree.prompt_ids, (_up_to(whole, int(end)),)) for end in ends]
        scores = [score for [score] in learner.scorer.scores(prefixes)]
        targets = [float(y >= 0.5) for y in labels] if name == "prm-hard" else labels
        losses.append([reference.cross_entropy(s, y) for s, y in zip(scores, targets, strict=True)])
        verdicts = [(s > 0, y >= 0.5) for s, y in zip(scores, labels, strict=True)]
        right += [found == label for found, label in verdicts]
        first.append(next((f == y for f, y in verdicts if not (f and y)), True))
    every = [loss for solution in losses for loss in solution]
    expected = fmean(every) if name == "prm" else fmean(fmean(solution) for solution in losses)
    assert found["loss/total"] == pytest.approx(expected, rel=1e-5)
    assert found["process/step_accuracy"] == pytest.approx(fmean(right))
    assert found["process/first_error_accuracy"] == pytest.approx(fmean(first))
    assert 0 < fmean(right) < 1


def _up_to(whole: Continuation, end: int) -> Continuation:
    return Continuation(whole.token_ids[: end + 1], np.zeros(end + 1, np.bool_))


def test_a_tree_that_is_no_pair_is_refused(tiny_model: Path) -> None:
    case = CASES["dpo"]
    [tree, *_] = case.batch(0)
    broken = PromptTree(tree.prompt_ids, tree.continuations[:1])
    with pytest.raises(DataError, match="two responses"):
        case.learner(tiny_model).evaluate([broken], case.objective)


def test_kto_without_mismatched_responses_says_what_to_do(tiny_model: Path) -> None:
    case = CASES["kto"]
    learner = case.learner(tiny_model)
    trees, _ = learner.prepare(case.batch(0), case.objective)
    with pytest.raises(DataError, match="with_mismatched"):
        learner.evaluate(trees, case.objective)
