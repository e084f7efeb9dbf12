"""What held-out texts and pairs say of a model, with 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medray.errors import DataError
from medray.learners.held_out.pair_metrics import pair_quality
from medray.learners.scorer import Scorer
from medray.observability.intervals import Interval, ratio_interval, wilson
from medray.types import PromptTree


def perplexity(scorer: Scorer, texts: Sequence[PromptTree]) -> Interval:
    """exp of the mean negative log-likelihood (nats) of all trained tokens; texts are what is drawn.

    Raises:
        DataError: there are no texts.
    """
    if not texts:
        raise DataError("no text to compute a perplexity of: raise texts.num_eval")
    nlls, counts = list[float](), list[float]()
    for scored in scorer.logprobs(texts):
        nlls.append(-sum(float(logp.sum(dtype="float64")) for logp in scored))
        counts.append(float(sum(len(logp) for logp in scored)))
    mean = ratio_interval(nlls, counts)
    value, low, high = (math.exp(min(v, 700.0)) for v in (mean.value, mean.low, mean.high))
    return Interval(value, low, high, mean.n)


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
    accuracy = pair_quality(values, [(n[0], n[1]) for n in lengths]).accuracy
    interval = wilson(accuracy * len(pairs), len(pairs))
    return Interval(accuracy, interval.low, interval.high, len(pairs))
