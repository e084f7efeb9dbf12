"""Who answers the policy in dialogues of several turns."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from medray.config.base import Section


class EnvironmentConfig(Section):
    """The other side of a dialogue. `rollout.max_new_tokens` bounds all that follows the prompt, its turns included."""

    kind: str = "self_check"
    """A registered environment (self_check, interview), or your own as `package.module:ClassName`."""
    max_turns: int = Field(default=2, ge=1)
    """Turns of the policy; the last is not answered."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The environment's own settings."""
