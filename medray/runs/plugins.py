"""Building every exchangeable part of a job before anything starts, so that a mistake costs a second and not a run."""

from __future__ import annotations

from medray.config.base import Section
from medray.config.data import DataConfig
from medray.config.evaluate import EvaluateJob
from medray.config.generate import GenerateJob
from medray.config.parts import plugins_in
from medray.config.prepare import PrepareJob
from medray.config.reward import MODEL
from medray.config.rl import RlJob
from medray.data.pipelines.screening import build_screens
from medray.data.registry import find_schema
from medray.engines.build import engine_kind
from medray.environments.registry import build_environment
from medray.errors import ConfigError
from medray.plugins import make_part
from medray.rewards.mixture import build_rewards
from medray.rewards.registry import build_reward


def build_plugins(job: Section, *, reward_models: bool = False) -> None:
    """Import and build the job's own parts, rewards, environment, engine, schemas and screens, and throw them away.

    Args:
        job: any job.
        reward_models: build these, too. Without a run to start they are left out: their folder may be the result of a
            job that has not run yet.

    Raises:
        ConfigError: one cannot be imported, built or called; the text names its key.
    """
    for plugin in plugins_in(job):
        make_part(plugin.part, plugin.door, plugin.key, {})
    data = getattr(job, "data", None)
    if isinstance(data, DataConfig):
        for source in (data, *data.sources):
            find_schema(source.kind)
    if isinstance(job, PrepareJob):
        build_screens(job.filters, job.decontaminate)
    if isinstance(job, GenerateJob):
        engine_kind(job.engine, "batch", key="engine")
    if isinstance(job, EvaluateJob):
        engine_kind(job.engine, "rollout", key="engine")
    if isinstance(job, RlJob):
        _build_engine(job)
        if reward_models:
            build_rewards(job.rewards)
        else:
            for number, reward in enumerate(job.rewards):
                if reward.kind != MODEL:
                    build_reward(reward, f"rewards.{number}")
        if job.rollout.environment is not None:
            build_environment(job.rollout.environment)


def _build_engine(job: RlJob) -> None:
    needs = ["rollout"]
    if job.sync.backend != "object_store":
        needs.append("sender")
    if job.algorithm.is_taught_by_engines:
        needs.append("teacher")
    engine = job.rollout.engine
    kind = engine_kind(engine, *needs)
    if job.rollout.environment is not None and not kind.plays_dialogues:
        raise ConfigError(
            f"rollout.engine.kind={engine.kind} plays no dialogues: leave rollout.environment out, or use kind: vllm"
        )
