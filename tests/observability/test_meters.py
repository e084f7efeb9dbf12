"""Meters: hand-worked values, and independence from how the numbers were split."""

import math
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.observability.meters import Meters

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)
ADDITIONS = st.lists(
    st.one_of(
        st.tuples(st.just("mean"), st.floats(-1e6, 1e6), st.integers(0, 9)),
        st.tuples(st.just("sum"), NUMBERS),
        st.tuples(st.just("max"), st.floats(allow_infinity=True, allow_nan=False)),
    ),
    max_size=12,
)


def filled(additions):
    meters = Meters()
    for reduction, *numbers in additions:
        getattr(meters, reduction)(f"a/{reduction}", *numbers)
    return meters


def test_each_reduction_by_hand():
    meters = Meters()
    meters.mean("policy/kl", total=3.0, weight=2)
    meters.mean("policy/kl", total=-1.0, weight=6)  # (3 - 1) / 8
    meters.sum("tokens", 5)
    meters.sum("tokens", 7)
    meters.max("ratio", -4.0)
    meters.max("ratio", -2.5)
    assert meters.values() == {"policy/kl": 0.25, "ratio": -2.5, "tokens": 12.0}


def test_mean_without_weight_is_absent_but_adds_nothing_to_a_later_one():
    meters = Meters()
    meters.mean("eval/accuracy", total=0.0, weight=0)
    assert meters.values() == {}
    meters.mean("eval/accuracy", total=1.0, weight=4)
    assert meters.values() == {"eval/accuracy": 0.25}


def test_cancellation_loses_nothing():
    meters = Meters()
    for value in (1e16, 1.0, -1e16):
        meters.sum("loss", value)
    assert meters.values() == {"loss": 1.0}


@given(ADDITIONS)
def test_any_split_gives_the_values_of_the_whole(additions):
    whole = filled(additions).values()
    singly = Meters.merged(filled([addition]) for addition in reversed(additions))
    assert singly.values() == whole


@given(ADDITIONS, ADDITIONS, ADDITIONS)
def test_merge_is_associative_and_commutative(a, b, c):
    left = filled(a).merge(filled(b)).merge(filled(c)).values()
    right = filled(c).merge(filled(a).merge(filled(b))).values()
    nested = filled(a).merge(filled(b).merge(filled(c))).values()
    assert left == right == nested


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20))
def test_sum_is_the_exact_sum_rounded_once(numbers):
    meters = Meters()
    for number in numbers:
        meters.sum("x", number)
    assert meters.values()["x"] == float(sum(map(Fraction, numbers)))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_beyond_the_floats_is_infinite(sign):
    meters = filled([("sum", sign * 1.5e308), ("sum", sign * 1.5e308)])
    assert meters.values() == {"a/sum": sign * math.inf}
    assert meters.merge(filled([("sum", sign * -1.5e308)])).values() == {"a/sum": sign * 1.5e308}


def test_merge_leaves_the_other_unchanged_and_merged_leaves_all():
    one, two = filled([("sum", 1.0)]), filled([("sum", 2.0)])
    assert Meters.merged([one, two]).values() == {"a/sum": 3.0}
    assert one.merge(two) is one
    assert (one.values(), two.values()) == ({"a/sum": 3.0}, {"a/sum": 2.0})


@pytest.mark.parametrize("reduction", ["sum", "max"])
def test_nan_is_never_hidden(reduction):
    for order in ([math.nan, 1.0], [1.0, math.nan]):
        assert math.isnan(
            filled([(reduction, value) for value in order]).values()[f"a/{reduction}"]
        )


def test_infinite_total_shows_in_the_mean():
    meters = filled([("mean", 1.0, 1), ("mean", math.inf, 1)])
    assert meters.values() == {"a/mean": math.inf}


def test_a_name_keeps_its_reduction():
    meters = Meters()
    meters.sum("loss", 1.0)
    with pytest.raises(ValueError, match="metric loss is a sum, not a mean"):
        meters.mean("loss", 1.0, 1)
    other = Meters()
    other.max("loss", 1.0)
    with pytest.raises(ValueError, match="metric loss is a sum, not a max"):
        meters.merge(other)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_must_count_something(weight):
    with pytest.raises(ValueError, match="weight must be finite and not negative"):
        Meters().mean("x", 1.0, weight)


@given(ADDITIONS)
def test_pickle_round_trip(additions):
    meters = filled(additions)
    assert pickle.loads(pickle.dumps(meters)).values() == meters.values()


def test_renamed_keeps_every_value_and_reduction():
    meters = Meters()
    meters.mean("loss/total", total=3.0, weight=2)
    meters.max("optim/lr", 0.5)
    renamed = meters.renamed({"loss/total": "critic/loss"})
    assert renamed.values() == {"critic/loss": 1.5, "optim/lr": 0.5}
    renamed.mean("critic/loss", total=0.0, weight=1)
    assert renamed.values()["critic/loss"] == 1.0
    assert meters.values()["loss/total"] == 1.5
