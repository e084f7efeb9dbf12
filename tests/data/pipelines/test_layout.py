"""Orders of a shard: every tree once, budgets kept, the same for the same key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.config.prepare import LayoutConfig
from medray.data.batches.packing import first_fit_decreasing
from medray.data.pipelines.layout import lay_out

SIZES = st.lists(st.integers(1, 90), max_size=60)
KINDS = ("shuffle", "pack", "bucket", "keep")


@pytest.mark.parametrize("kind", KINDS)
@given(sizes=SIZES)
def test_every_tree_lies_in_one_bundle(kind: str, sizes: list[int]) -> None:
    layout = LayoutConfig.model_validate({"kind": kind, "row_tokens": 64})
    bundles = lay_out(sizes, layout, "17/train/0")
    assert sorted(i for bundle in bundles for i in bundle) == list(range(len(sizes)))
    assert all(bundles)
    assert bundles == lay_out(sizes, layout, "17/train/0")


@given(sizes=SIZES)
def test_budgets_are_kept(sizes: list[int]) -> None:
    packed = lay_out(sizes, LayoutConfig(kind="pack", row_tokens=64), "key")
    assert all(sum(sizes[i] for i in b) <= 64 or len(b) == 1 for b in packed)
    bucketed = lay_out(sizes, LayoutConfig(kind="bucket", row_tokens=64), "key")
    assert all(max(sizes[i] for i in b) * len(b) <= 64 or len(b) == 1 for b in bucketed)


def test_keys_draw_different_orders() -> None:
    layout = LayoutConfig(kind="shuffle")
    assert lay_out([1] * 50, layout, "a") != lay_out([1] * 50, layout, "b")
    assert lay_out([1] * 50, LayoutConfig(kind="keep"), "a") == [[i] for i in range(50)]


def test_buckets_hold_similar_lengths() -> None:
    sizes = [(i * 37) % 500 + 1 for i in range(2000)]
    bundles = lay_out(sizes, LayoutConfig(kind="bucket", row_tokens=4096), "key")
    padded = sum(max(sizes[i] for i in b) * len(b) for b in bundles)
    assert padded < 1.1 * sum(sizes)


@given(sizes=SIZES, capacity=st.integers(1, 80))
def test_first_fit_is_that_of_a_plain_search(sizes: list[int], capacity: int) -> None:
    bins: list[list[int]] = []
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        room = (b for b in bins if sum(sizes[j] for j in b) + sizes[i] <= capacity)
        chosen = next(room, None)
        if chosen is None:
            bins.append([i])
        else:
            chosen.append(i)
    assert first_fit_decreasing(sizes, capacity) == [sorted(b) for b in bins]
