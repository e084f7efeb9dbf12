"""Keys and values that have another name now: refused with the new one, and understood in run folders written before.

An entry stays for one version of medray after the rename, then goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel

from medray.config.keys import known_keys

KEYS: Mapping[str, str] = {
    # RL jobs
    "algorithm.preset": "algorithm.kind",
    "scale.learner_ranks": "workers.learner.count",
    "scale.rollout_workers": "workers.rollout.count",
    "scale.critic_ranks": "workers.critic.count",
    "scale.references": "workers.reference.count",
    "scale.teachers": "workers.teacher.count",
    "scale.reward_models": "workers.reward.count",
    "scale.graders": "workers.grader.count",
    "scale": "workers",
    # supervised jobs
    "workers.num_workers": "workers.learner.count",
    "workers.min_workers": "workers.learner.min_count",
    "workers.resources": "workers.learner",
    "workers.max_failures": "workers.max_restarts",
    # jobs/generate.py
    "worker": "workers.engine",
    # jobs/evaluate.py
    "resources": "workers.evaluator",
    # jobs/prepare_data.py
    "num_workers": "workers.tokenizer.count",
}
"""Old key -> new key. A section's entry holds for all that is in it; the longest that fits counts."""

NOW_SECTIONS: Mapping[str, str] = {"workers": "workers.engine.count"}
"""Key that held one value and is a section now -> where the value is."""

VALUES: Mapping[str, Mapping[str, str]] = {
    "rollout.environment.kind": {"second_look": "self_check"},
}
"""Key -> its old values, each with the new one."""


@dataclass(frozen=True)
class Renaming:
    """Settings under their present names, and a line for each name that was an old one."""

    settings: dict[str, Any]
    problems: tuple[str, ...]


def with_present_names(schema: type[BaseModel], settings: Mapping[str, Any]) -> Renaming:
    """Rename what `schema` knows under another name; everything else stays as it is."""
    walk = _Walk(known_keys(schema))
    walk.section(settings, ())
    return Renaming(walk.found, tuple(walk.problems))


def present_key(key: str) -> str:
    """What a dotted key is called now: `scale.learner.threads` is `workers.learner.threads`."""
    parts = key.split(".")
    for end in range(len(parts), 0, -1):
        prefix = ".".join(parts[:end])
        if prefix in KEYS:
            return KEYS[prefix] + key.removeprefix(prefix)
    return key


class _Walk:
    def __init__(self, known: Sequence[str]) -> None:
        self.known = frozenset(known)
        self.sections = frozenset(key.rpartition(".")[0] for key in known)
        self.found: dict[str, Any] = {}
        self.problems: list[str] = []

    def section(self, settings: Mapping[str, Any], above: tuple[str, ...]) -> None:
        for name, value in settings.items():
            place = (*above, name)
            key = ".".join(str(part) for part in place)
            if isinstance(value, Mapping) and value and self._is_section(key):
                self.section(cast(Mapping[str, Any], value), place)
                continue
            new = self._present(key, value)
            if new != key:
                self.problems.append(f"unknown key {key}: it is now {new}")
                place = tuple(new.split("."))
            _put(self.found, place, self._present_value(new, value))

    def _is_section(self, key: str) -> bool:
        """Whether keys in `key` are renamed one by one, or are sections themselves."""
        return (
            key in self.sections
            or present_key(key) in self.sections
            or any(old.startswith(f"{key}.") for old in KEYS)
        )

    def _present(self, key: str, value: Any) -> str:
        if key not in self.known:
            new = present_key(key)
        elif key in NOW_SECTIONS and isinstance(value, int | str):
            new = NOW_SECTIONS[key]
        else:
            return key
        return new if new in self.known else key

    def _present_value(self, key: str, value: Any) -> Any:
        new = VALUES.get(key, {}).get(value) if isinstance(value, str) else None
        if new is None:
            return value
        self.problems.append(f"{key}={value}: it is now {new}")
        return new


def _put(settings: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    *parents, leaf = place
    node = settings
    for name in parents:
        if not isinstance(node.get(name), dict):
            node[name] = {}
        node = node[name]
    node[leaf] = value
