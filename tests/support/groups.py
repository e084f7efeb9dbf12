"""Groups that no model sampled."""

from __future__ import annotations

import numpy as np

from medray.types import Prompt, Record, Response, RolloutGroup


def random_groups(count: int) -> list[RolloutGroup]:
    """`count` groups of four random responses."""
    rng = np.random.default_rng(0)

    def response() -> Response:
        size = int(rng.integers(1, 12))
        ids = rng.integers(3, 300, size).astype(np.int32)
        return Response(ids, rng.normal(-5.5, 0.2, size).astype(np.float32), "", "length")

    return [
        RolloutGroup(
            Prompt(
                Record(str(i), ()), rng.integers(3, 300, int(rng.integers(4, 30))).astype(np.int32)
            ),
            tuple(response() for _ in range(4)),
            0,
        )
        for i in range(count)
    ]
