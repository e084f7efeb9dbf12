"""Perplexity of texts against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medray.errors import DataError
from medray.learners.held_out.likelihood import TextLikelihood, perplexity_of


def _logps(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_texts_weigh_by_their_tokens_and_are_the_sample() -> None:
    """Texts of 3 nats over 1 token and, in two continuations, 3 nats over 3: exp(6/4)."""
    found = TextLikelihood.of([[_logps(-3.0)], [_logps(-1.0, -1.5), _logps(-0.5)]])
    assert found == TextLikelihood((3.0, 3.0), (1, 3))
    assert found.nats_per_token == [3.0, 1.0]
    perplexity = found.perplexity
    assert perplexity.value == pytest.approx(math.exp(1.5))
    assert perplexity.n == 2
    assert perplexity.low == pytest.approx(math.exp(1.5 - 12.706 * 0.75), rel=1e-3)


def test_an_untrained_model_has_a_finite_perplexity() -> None:
    assert perplexity_of(2.0) == math.exp(2.0)
    assert perplexity_of(1e6) == math.exp(700.0)


def test_no_texts_is_an_error() -> None:
    with pytest.raises(DataError, match=r"texts\.num_eval"):
        _ = TextLikelihood((), ()).perplexity
