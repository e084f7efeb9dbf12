"""The driver's workers in one process: a tiny policy, an engine that is a plain copy of it, a real `Learner`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from medray.actors.groups import GroupHandle, TrainItem
from medray.config.grpo import GrpoJob
from medray.data.batches.trees import rollout_tree
from medray.learners.build import build_learner, build_rl_objective
from medray.observability.meters import Meters
from medray.rewards.mixture import build_rewards
from medray.types import (
    Floats,
    GenerateSpec,
    GroupMeta,
    Prompt,
    Response,
    RolloutGroup,
    StepTotals,
)
from tests.support.groups import scored

STOP = 2


class ToyWorkers:
    """Samples with the weights of the last sync, so a driver that forgets to sync is off-policy."""

    def __init__(self, job: GrpoJob) -> None:
        self.job = job
        self.learner = build_learner(job, 0, ("", 0), None)
        self.engine = AutoModelForCausalLM.from_pretrained(job.model.path).eval()
        self.objective = build_rl_objective(job, self.learner)
        self.rewards = build_rewards(job.rewards)
        self.version = -1
        self.num_old_passes = 0
        self.mismatch_nats = (
            0.0  # standard deviation of the engine's error, for tests of corrections
        )
        self.collector = self.learners = self.graders = self.incidents = self

    def sync(self, version: int) -> float:
        self.engine.load_state_dict(self.learner.policy.module.state_dict())
        self.version = version
        return 0.0

    def collect(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], spec: GenerateSpec, *, reference: bool = True,
        may_be_empty: bool = False,
    ) -> list[GroupHandle]:  # fmt: skip
        return [self._scored(p, s, spec) for p, s in zip(prompts, seeds, strict=True)]

    def old_logprobs(self, groups: Sequence[RolloutGroup]) -> list[list[Floats]]:
        self.num_old_passes += len(groups)
        return [list(s) for s in self.learner.scorer.logprobs([rollout_tree(g) for g in groups])]

    def update(
        self, items: Sequence[TrainItem], metas: Sequence[GroupMeta], *, place: int
    ) -> Meters:
        lengths = [n for meta in metas for n in meta.num_response_tokens]
        totals = StepTotals(sum(lengths), len(lengths), len(items))
        trees = [
            rollout_tree(i.tokens, i.advantages, i.reference, i.old, kept=i.kept) for i in items
        ]
        own, objective = self.learner.prepare(trees, self.objective)
        meters = self.learner.forward_backward(own, objective, totals)
        return meters.merge(self.learner.optim_step(place))

    def record(self, step: int, batch: Sequence[GroupHandle], advantages: Sequence[Floats]) -> None:
        assert [len(a) for a in advantages] == [len(s.score.rewards) for s in batch]

    def finish_records(self) -> None:
        pass

    def drain(self) -> dict[str, float]:
        return {}

    def save(self, step: int, scalars: dict[str, Any]) -> str:
        return ""

    def _scored(self, prompt: Prompt, seed: int, spec: GenerateSpec) -> GroupHandle:
        generator = np.random.default_rng(seed)
        responses = sample(self.engine, prompt, spec, generator, self.mismatch_nats)
        group = RolloutGroup(prompt, responses, self.version)
        lengths = tuple(len(r.token_ids) for r in responses)
        stopped = sum(r.finish_reason == "stop" for r in responses)
        meta = GroupMeta(
            prompt.record.id, len(prompt.token_ids), lengths, stopped, self.version, ""
        )
        return scored(prompt, meta, self.rewards.score(group), group)


@torch.no_grad()
def sample(
    model: Any, prompt: Prompt, spec: GenerateSpec, generator: np.random.Generator, mismatch_nats: float
) -> tuple[Response, ...]:  # fmt: skip
    """Token by token, the whole text again each time: slow and plain."""
    count = spec.num_samples
    ids = torch.as_tensor(prompt.token_ids, dtype=torch.long).expand(count, -1)
    logps = []
    for _ in range(spec.max_new_tokens):
        logits = model(input_ids=ids).logits[:, -1].float()
        greedy = spec.sampling.temperature == 0
        logp = (logits / (1.0 if greedy else spec.sampling.temperature)).log_softmax(-1)
        noise = torch.as_tensor(generator.gumbel(size=logp.shape), dtype=logp.dtype)
        token = (logp if greedy else logp + noise).argmax(-1, keepdim=True)
        logps.append(logp.gather(1, token))
        ids = torch.cat([ids, token], dim=1)
    answers = ids[:, len(prompt.token_ids) :].numpy().astype(np.int32)
    logp = torch.cat(logps, dim=1).numpy() + generator.normal(0, 1, answers.shape) * mismatch_nats
    return tuple(_response(*pair) for pair in zip(answers, logp.astype(np.float32), strict=True))


def _response(answer: np.ndarray, logp: np.ndarray) -> Response:
    stops = np.flatnonzero(answer == STOP)
    size = int(stops[0]) + 1 if len(stops) else len(answer)
    return Response(answer[:size], logp[:size], "", "stop" if len(stops) else "length")
