"""From the scores and parts of all terms to one reward: a weighted sum, under gates and vetoes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medray.config.reward import BoundsConfig, RewardConfig, reward_names

Parts = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Term:
    """A term of the reward, under the name that its parts begin with."""

    name: str
    config: RewardConfig

    @property
    def rules(self) -> tuple[BoundsConfig, ...]:
        """Its gate and its veto, where it has them."""
        return tuple(rule for rule in (self.config.gate, self.config.veto) if rule is not None)


def terms_of(configs: Sequence[RewardConfig]) -> tuple[Term, ...]:
    """The terms of a job, named as in metrics."""
    names = reward_names(configs)
    return tuple(Term(name, config) for name, config in zip(names, configs, strict=True))


def compose(terms: Sequence[Term], parts: Parts, num_responses: int) -> tuple[float, ...]:
    """The reward of each response.

    Args:
        terms: whose `name/score` and, for gates and vetoes, `name/part` are in `parts`.
        parts: of all terms.
        num_responses: length of every part.

    Returns:
        The sum of weight * score; where a gate is closed, without what the other terms add; where a veto strikes, at
        most its reward. Neither can raise a reward.
    """
    return tuple(_reward(terms, parts, i) for i in range(num_responses))


def passed_parts(
    terms: Sequence[Term], parts: Parts, num_responses: int
) -> dict[str, tuple[float, ...]]:
    """`name/passed` of every term with a gate or veto: 1 where all its bounds hold, else 0."""
    return {
        f"{term.name}/passed": tuple(
            float(all(_holds(term, rule, parts, i) for rule in term.rules))
            for i in range(num_responses)
        )
        for term in terms
        if term.rules
    }


def _reward(terms: Sequence[Term], parts: Parts, i: int) -> float:
    closed = {
        term.name
        for term in terms
        if term.config.gate is not None and not _holds(term, term.config.gate, parts, i)
    }
    total = 0.0
    for term in terms:
        paid = term.config.weight * parts[f"{term.name}/score"][i]
        total += min(paid, 0.0) if closed - {term.name} else paid
    for term in terms:
        veto = term.config.veto
        if veto is not None and not _holds(term, veto, parts, i):
            total = min(total, veto.reward)
    return total


def _holds(term: Term, rule: BoundsConfig, parts: Parts, i: int) -> bool:
    value = parts[f"{term.name}/{rule.part}"][i]
    low = -math.inf if rule.min is None else rule.min
    high = math.inf if rule.max is None else rule.max
    return low <= value <= high
