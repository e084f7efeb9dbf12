"""What an environment is: the other side of a dialogue that a rollout consists of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from medray.types import Record


@runtime_checkable
class Environment(Protocol):
    """Answers the policy's turns.

    An environment with settings has a class attribute `Options`, a `medray.config.base.Section`, and takes an instance
    of it; one without takes the settings as keyword arguments. One object serves all dialogues of a rollout worker,
    from several threads.
    """

    def reply(self, record: Record, turns: Sequence[str]) -> str | None:
        """What the user says next, or None when the dialogue is over.

        It must depend on its arguments alone: a dialogue that is sampled again, after a death or a restart, must hear
        the same.

        Args:
            record: what the dialogue is about; `record.messages` came before the first turn.
            turns: what the policy has said so far, at least one text; its thoughts are left out.
        """
        ...
