"""Perplexity of held-out texts and preferences over held-out pairs, with 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medray.errors import DataError
from medray.learners.held_out.pair_metrics import pair_metrics
from medray.learners.scorer import Scorer
from medray.observability.intervals import Interval, ratio_interval, share_interval
from medray.types import Floats, PromptTree

MAX_NATS = 700.0
"""exp of more overflows a float."""


def perplexity_of(nats_per_token: float) -> float:
    """exp of a mean negative log-likelihood (nats per token); finite for any finite input."""
    return math.exp(min(nats_per_token, MAX_NATS))


@dataclass(frozen=True, slots=True)
class TextLikelihood:
    """Negative log-likelihood of each text: the sum over its predicted tokens, and how many they are."""

    nats: tuple[float, ...]
    num_tokens: tuple[int, ...]

    @classmethod
    def of(cls, scored: Sequence[Sequence[Floats]]) -> TextLikelihood:
        """Sum log-probabilities (nats) per text, as `Scorer.logprobs` returns them."""
        nats = [-sum(float(logp.sum(dtype="float64")) for logp in text) for text in scored]
        return cls(tuple(nats), tuple(sum(len(logp) for logp in text) for text in scored))

    @property
    def perplexity(self) -> Interval:
        """exp of the mean negative log-likelihood over all tokens; the texts are the sample.

        Raises:
            DataError: there are no texts.
        """
        if not self.nats:
            raise DataError("no text to compute the perplexity on: raise texts.num_eval")
        mean = ratio_interval(self.nats, self.num_tokens)
        value, low, high = (perplexity_of(v) for v in (mean.value, mean.low, mean.high))
        return Interval(value, low, high, mean.n)

    @property
    def nats_per_token(self) -> list[float]:
        """Mean negative log-likelihood of each text."""
        return [nats / n for nats, n in zip(self.nats, self.num_tokens, strict=True)]


def likelier_chosen(scorer: Scorer, pairs: Sequence[PromptTree]) -> Interval:
    """Share of pairs whose better answer has the higher mean log-probability a token.

    Raises:
        DataError: there are no pairs.
    """
    means = [[float(logp.mean()) for logp in scored] for scored in scorer.logprobs(pairs)]
    return _share_won([(m[0], m[1]) for m in means], pairs)


def scored_higher(scorer: Scorer, pairs: Sequence[PromptTree]) -> Interval:
    """Share of pairs whose better answer a reward model scores higher.

    Raises:
        DataError: there are no pairs.
    """
    return _share_won([(float(s[0]), float(s[1])) for s in scorer.scores(pairs)], pairs)


def _share_won(values: Sequence[tuple[float, float]], pairs: Sequence[PromptTree]) -> Interval:
    lengths = [[int(c.trained.sum()) for c in tree.continuations] for tree in pairs]
    return share_interval(
        pair_metrics(values, [(n[0], n[1]) for n in lengths]).accuracy, len(pairs)
    )
