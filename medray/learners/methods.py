"""The supervised methods by name: what each reads, loads and needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from medray.data.loading.stages import Stage


@dataclass(frozen=True, slots=True)
class Method:
    """What tells one supervised stage from another, beside its objective."""

    stage: Stage
    """How it reads records."""
    model: Literal["policy", "reward"] = "policy"
    """A language model, or one with a scalar head."""
    has_mismatched: bool = False
    """Its loss may read responses to other prompts; see `needs_mismatched`."""


METHODS: Mapping[str, Method] = {
    "pt": Method("pt"),
    "sft": Method("sft"),
    "rm": Method("preference", model="reward"),
    "prm": Method("process", model="reward"),
    "dpo": Method("preference"),
    "orpo": Method("preference"),
    "kto": Method("kto", has_mismatched=True),
}
"""Method -> what it is; one line each. Its objective is in objectives/registry.py under the same name."""


def needs_mismatched(method: str, job: Any) -> bool:
    """True when trees get the response to another prompt (`trees.with_mismatched`) before they are dealt to ranks."""
    return METHODS[method].has_mismatched and job.loss.reference_point == "mismatched"
