"""Workers without Ray: scripted rewards, a learner that counts, engines that remember their version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from medray.actors.groups import GroupHandle, TrainItem
from medray.observability.meters import Meters
from medray.types import GenerateSpec, GroupMeta, GroupScore, Prompt
from tests.support.groups import scored

Script = Callable[[int, Prompt], Sequence[float]]  # (call number, prompt) -> one reward a sample


@dataclass
class FakeWorkers:
    """Records what the training loop asks for, in order."""

    script: Script
    log: list[str] = field(default_factory=list)
    updates: list[list[TrainItem]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    version: int = -1
    calls: int = 0

    @property
    def collector(self) -> FakeWorkers:
        return self

    @property
    def incidents(self) -> FakeWorkers:
        return self

    def drain(self) -> dict[str, float]:
        return {}

    @property
    def learners(self) -> FakeWorkers:
        return self

    @property
    def graders(self) -> FakeWorkers:
        return self

    def sync(self, version: int) -> float:
        self.version = version
        self.log.append(f"sync {version}")
        return 1e-5

    def collect(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        spec: GenerateSpec,
        *,
        reference: bool = True,
        may_be_empty: bool = False,
    ) -> list[GroupHandle]:
        self.log.append(f"{'rollout' if reference else 'evaluate'} v{self.version}")
        if reference:
            self.calls += 1
            self.seen += [p.record.id for p in prompts]
            self.seeds += list(seeds)
        return [self._scored(p, spec) for p in prompts]

    def _scored(self, prompt: Prompt, spec: GenerateSpec) -> GroupHandle:
        rewards = tuple(self.script(self.calls, prompt))[: spec.num_samples]
        lengths = (3,) * spec.num_samples
        meta = GroupMeta(prompt.record.id, len(prompt.token_ids), lengths, 0, self.version, "fake")
        parts = {"choice/score": rewards}
        return scored(prompt, meta, GroupScore(rewards, parts), prompt.record.id)

    def update(
        self, items: Sequence[TrainItem], metas: Sequence[GroupMeta], *, place: int
    ) -> Meters:
        assert len(items) == len(metas)
        self.places.append(place)
        self.log.append(f"update {len(items)}")
        self.updates.append(list(items))
        return Meters()

    def old_logprobs(self, groups: Sequence[Any]) -> list[str]:
        self.log += [f"old {group} v{self.version}" for group in groups]
        return [f"old {group}" for group in groups]

    def record(self, step: int, batch: Sequence[GroupHandle], advantages: Any) -> None:
        self.log.append(f"record {step}")

    def finish_records(self) -> None:
        pass

    def save(self, step: int, scalars: dict[str, Any]) -> str:
        self.log.append(f"save {step} @{scalars['prompt_position']}")
        return ""


@dataclass
class ListSink:
    """Keeps what it is given."""

    steps: dict[int, dict[str, float]] = field(default_factory=dict)
    evaluations: dict[int, dict[str, float]] = field(default_factory=dict)

    def record(self, step: int, metrics: dict[str, float]) -> None:
        self.steps[step] = dict(metrics)

    def evaluation(self, step: int, metrics: dict[str, float]) -> None:
        self.evaluations[step] = dict(metrics)

    def close(self) -> None:
        pass
