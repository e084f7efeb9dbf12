"""The tables that flow through a preparation, and their columns."""

from __future__ import annotations

import pyarrow as pa

READ = pa.schema(
    [
        ("window", pa.int32()),  # rows of one window become one shard a side
        ("where", pa.string()),
        ("part", pa.string()),  # which source of the mixture
        ("held_out", pa.bool_()),
        ("weight", pa.float64()),
        ("record", pa.string()),  # the record as JSON; null where the row is bad or a mark
        ("reason", pa.string()),  # why the row is left out; null where it is not
        ("detail", pa.string()),
        (
            "left_out",
            pa.bool_(),
        ),  # the row is sound and says nothing to train on; null counts as false
        ("mark", pa.string()),  # JSON of the end of a window, in a row of its own
    ]
)
"""Rows as read."""

KEPT_COLUMNS = ("window", "where", "part", "held_out", "weight", "reason", "detail", "mark")
"""Columns of a row that stay once it is tokenised."""
