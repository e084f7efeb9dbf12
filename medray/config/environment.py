"""Who answers the policy in dialogues of several turns."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from medray.config.base import Section


class EnvironmentConfig(Section):
    """The other side of a dialogue. `rollout.max_new_tokens` bounds all that follows the prompt, its turns included."""

    kind: str = "self_check"
    """A registered environment (self_check, interview), or your own as `package.module:ClassName`."""
    max_turns: int = Field(default=2, ge=1)
    """Turns of the policy; the last is not answered."""
    deadline_s: float = Field(default=120, gt=0, allow_inf_nan=False)
    """Longest time that one reply may take, in seconds; a longer one is a failure."""
    retries: int = Field(default=2, ge=0)
    """Number of times that a whole group is sampled again after the environment failed in it."""
    on_failure: Literal["stop", "drop"] = "stop"
    """After the last retry: stop the run, or drop the group and record it in `incidents.jsonl`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The environment's own settings."""
