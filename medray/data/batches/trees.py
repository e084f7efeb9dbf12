"""The trees a learner trains on: rollouts, pairs, labelled responses and steps, and how many tokens they train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from medray.errors import DataError
from medray.types import (
    Column,
    Continuation,
    Floats,
    PromptTree,
    Response,
    RolloutGroup,
    StepTotals,
    TokenIds,
    TopTokens,
)

STEP_LABEL = "step_label"
PER_TOKEN = frozenset({STEP_LABEL})
"""Columns of data rows that differ between the tokens of a continuation; all others are constant within one."""


def rollout_tree(
    group: RolloutGroup,
    advantages: Sequence[float] | Sequence[Floats] | Floats | None = None,
    reference: Sequence[Floats] | None = None,
    old: Sequence[Floats] | None = None,
    taught: Sequence[TopTokens] | None = None,
    kept: Sequence[int] | None = None,
) -> PromptTree:
    """A group as one tree; every token that the policy sampled is trained, the stop token included.

    Args:
        group: prompt and its G responses.
        advantages: [G], each spread over its response's tokens, or [G][N]. None leaves the column out.
        reference: per response the reference model's log-probabilities [N] of the trained tokens.
        old: per response the learner's own [N] from before the batch's first update.
        taught: per response what a teacher would say in the place of its N trained tokens.
        kept: which responses the tree has; None: all.
    """
    continuations = []
    for g in range(len(group.responses)) if kept is None else kept:
        response = group.responses[g]
        columns: dict[str, Column] = {}
        if advantages is not None:
            columns["advantage"] = np.broadcast_to(
                np.asarray(advantages[g], dtype=np.float32), response.num_sampled
            )
        if reference is not None:
            columns["ref_logp"] = reference[g]
        if old is not None:
            columns["old_logp"] = old[g]
        if taught is not None:
            columns["teacher_ids"] = taught[g].ids.astype(np.int64)
            columns["teacher_logp"] = taught[g].logp
        continuations.append(_continuation(response, columns, behaviour_logp=response.logp))
    return PromptTree(group.prompt.token_ids, tuple(continuations))


def value_tree(
    group: RolloutGroup,
    returns: Sequence[Floats],
    values: Sequence[Floats],
    kept: Sequence[int] | None = None,
) -> PromptTree:
    """A group as one tree for the critic, with the columns `return` and `old_value` from [G][N] of each; `kept` as in
    `rollout_tree`."""
    continuations = tuple(
        _continuation(group.responses[g], {"return": returns[g], "old_value": values[g]})
        for g in (range(len(group.responses)) if kept is None else kept)
    )
    return PromptTree(group.prompt.token_ids, continuations)


def _continuation(
    response: Response, of_sampled: Mapping[str, Column], **whole: Column
) -> Continuation:
    """A response with columns that have a row for each sampled token [N], or for every token [T]."""
    size = len(response.token_ids)
    sampled = np.ones(size, dtype=np.bool_) if response.sampled is None else response.sampled
    columns = dict(whole)
    for name, values in of_sampled.items():
        columns[name] = np.zeros((size, *values.shape[1:]), dtype=values.dtype)
        columns[name][sampled] = values
    return Continuation(response.token_ids, sampled, columns)


def sequence_tree(
    token_ids: Sequence[int] | TokenIds, columns: Mapping[str, Floats] | None = None
) -> PromptTree:
    """One text without a prompt, every token trained but the first."""
    ids = np.asarray(token_ids, dtype=np.int32)
    trained = np.ones(len(ids), dtype=np.bool_)
    trained[0] = False
    return PromptTree(
        np.zeros(0, dtype=np.int32), (Continuation(ids, trained, dict(columns or {})),)
    )


def pair_tree(
    prompt_ids: TokenIds, chosen: Continuation, rejected: Continuation, *, margin: float = 0.0
) -> PromptTree:
    """A preference pair: the chosen response first, then the rejected one, after one shared prompt.

    Args:
        prompt_ids: [T] what both responses follow.
        chosen, rejected: their tokens; the trained ones count in log-probabilities.
        margin: by how much the chosen one is better, for reward models; 0 when the data do not say.
    """
    return PromptTree(
        prompt_ids,
        (_with_constant(chosen, "margin", margin), _with_constant(rejected, "margin", margin)),
    )


def labelled_tree(
    prompt_ids: TokenIds, responses: Sequence[tuple[Continuation, bool]]
) -> PromptTree:
    """Responses to one prompt, each with whether it is desirable, for KTO."""
    return PromptTree(
        prompt_ids,
        tuple(_with_constant(response, "desirable", float(good)) for response, good in responses),
    )


def step_tree(
    token_ids: TokenIds, ends: npt.NDArray[np.int64], labels: Sequence[float | None]
) -> PromptTree:
    """A dialogue with an answer in steps; trained are the tokens at which labelled steps end, read at themselves.

    Args:
        token_ids: [T] of the whole dialogue.
        ends: [S] where each step ends.
        labels: [S] probability that a step is right; None for one that nobody labelled.
    """
    trained = np.zeros(len(token_ids), dtype=np.bool_)
    column = np.zeros(len(token_ids), dtype=np.float32)
    for end, label in zip(ends, labels, strict=True):
        if label is not None:
            trained[end], column[end] = True, label
    whole = Continuation(token_ids, trained, {STEP_LABEL: column})
    return PromptTree(np.zeros(0, dtype=np.int32), (whole,))


def per_token(tree: PromptTree) -> dict[str, Column]:
    """The columns of `PER_TOKEN` over all tokens of a tree; 0 in the prompt."""
    names = {name for c in tree.continuations for name in c.columns if name in PER_TOKEN}
    before = np.zeros(len(tree.prompt_ids), dtype=np.float32)
    return {
        name: np.concatenate([before, *(c.columns[name] for c in tree.continuations)])
        for name in names
    }


def with_mismatched(trees: Sequence[PromptTree], max_tokens: int | None = None) -> list[PromptTree]:
    """Give every labelled tree one more continuation: the first response of the next tree with another prompt.

    A response that is too long for the prompt is cut at its end, so that the two together have at most `max_tokens`,
    or as many as the tree's own prompt and longest response.

    KTO estimates its reference point on them and never trains them. Pairs depend on the order of `trees`
    alone; make them before trees are dealt to ranks, and before `ref_logp` is added.

    Raises:
        DataError: all prompts are the same.
    """
    result = []
    prompts = [tree.prompt_ids.tobytes() for tree in trees]
    for i, tree in enumerate(trees):
        partner = next(
            (
                j % len(trees)
                for j in range(i + 1, i + len(trees))
                if prompts[j % len(trees)] != prompts[i]
            ),
            None,
        )
        if partner is None:
            raise DataError(
                "KTO's reference point pairs a prompt with a response to another prompt, but there is only one prompt "
                f"({len(trees)} rows): add rows, or set loss.reference_point=zero"
            )
        other = trees[partner].continuations[0]
        if max_tokens is not None:
            own_tokens = max(len(c.token_ids) for c in tree.continuations)
            other = _cut(other, max(max_tokens - len(tree.prompt_ids), own_tokens))
        foreign = _with_constant(replace(other, columns={}), "desirable", 0.0)
        own = tuple(_with_constant(c, "mismatched", 0.0) for c in tree.continuations)
        result.append(
            replace(tree, continuations=(*own, _with_constant(foreign, "mismatched", 1.0)))
        )
    return result


def count(trees: Sequence[PromptTree]) -> StepTotals:
    """Trained tokens, continuations and trees."""
    continuations = [c for tree in trees for c in tree.continuations]
    tokens = sum(int(c.trained.sum()) for c in continuations)
    return StepTotals(tokens, len(continuations), len(trees))


def _cut(continuation: Continuation, num_tokens: int) -> Continuation:
    """The first tokens of a continuation, at least up to its first trained one."""
    end = max(num_tokens, int(np.argmax(continuation.trained)) + 1)
    columns = {name: column[:end] for name, column in continuation.columns.items()}
    return Continuation(continuation.token_ids[:end], continuation.trained[:end], columns)


def _with_constant(continuation: Continuation, name: str, value: float) -> Continuation:
    column = np.full(len(continuation.token_ids), value, dtype=np.float32)
    return replace(continuation, columns={**continuation.columns, name: column})
