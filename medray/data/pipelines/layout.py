"""In which order the trees of a shard lie, and which of them belong together."""

from __future__ import annotations

import random
from collections.abc import Sequence

from medray.config.prepare import LayoutConfig
from medray.data.batches.packing import first_fit_decreasing

_NUM_BUCKETS = 32
"""Buckets of a shard: within one, lengths are about equal."""


def lay_out(sizes: Sequence[int], layout: LayoutConfig, key: str) -> list[list[int]]:
    """Trees as bundles, each a list of indices.

    Args:
        sizes: tokens of each tree.
        layout: the kind of order, and the budget of a bundle.
        key: the order is drawn from it; the same key gives the same one.
    """
    match layout.kind:
        case "keep":
            return [[i] for i in range(len(sizes))]
        case "shuffle":
            bundles = [[i] for i in range(len(sizes))]
        case "pack":
            bundles = first_fit_decreasing(sizes, layout.row_tokens)
        case "bucket":
            bundles = _bucketed(sizes, layout.row_tokens, key)
    random.Random(key).shuffle(bundles)
    return bundles


def _bucketed(sizes: Sequence[int], row_tokens: int, key: str) -> list[list[int]]:
    """Bundles out of buckets of similar lengths; each fits into `row_tokens` when padded to its longest tree.

    Inside a bucket the order is drawn, so that trees of one length do not always meet the same neighbours.
    """
    order = sorted(range(len(sizes)), key=lambda i: (sizes[i], i))
    per_bucket = -(-len(order) // _NUM_BUCKETS)
    bundles: list[list[int]] = []
    for start in range(0, len(order), max(1, per_bucket)):
        bucket = order[start : start + per_bucket]
        random.Random(f"{key}/{start}").shuffle(bucket)
        bundle, longest = list[int](), 0
        for i in bucket:
            longest = max(longest, sizes[i])
            if bundle and longest * (len(bundle) + 1) > row_tokens:
                bundles.append(bundle)
                bundle, longest = [], sizes[i]
            bundle.append(i)
        if bundle:
            bundles.append(bundle)
    return bundles
