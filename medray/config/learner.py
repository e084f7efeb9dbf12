"""How a batch is cut for the learner."""

from __future__ import annotations

from pydantic import Field

from medray.config.base import Section


class LearnerConfig(Section):
    """How a batch is cut for the learner. Neither setting changes a step's loss or gradient."""

    row_tokens: int = Field(default=4096, ge=16)
    """Token budget of one packed row (micro-batch); a longer group has a row to itself."""
    head_chunk: int = Field(default=1024, ge=1)
    """Trained tokens whose logits are held at once."""
