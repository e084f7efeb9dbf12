"""The process that holds the evaluated models, one after another, and one engine that takes the weights of each."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray

from medray.actors.weights.publish import host_array
from medray.config.evaluate import EvaluatedModel, EvaluateJob
from medray.config.model import ModelConfig
from medray.data.loading.load import load_dataset
from medray.data.source import RowError
from medray.errors import DataError
from medray.observability.intervals import Interval, interval_of
from medray.observability.logging import get_logger, setup_from_environment
from medray.system.cpu import use_cpu
from medray.types import Prompt, PromptTree, Record, Response, TensorInfo, WeightManifest

_logger = get_logger(__name__)

Cells = dict[str, Interval]
"""Column of the table -> what was found."""
BLOCK_TOKENS = 1024
"""Longer texts are told in blocks of about equal length."""


@dataclass
class HeldOutRows:
    """What every model is evaluated on, and where it came from."""

    questions: Sequence[Record]
    texts: Sequence[Record]
    pairs: Sequence[Record]
    sources: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    @classmethod
    def load(cls, job: EvaluateJob) -> HeldOutRows:
        """Read the held-out sides.

        Raises:
            DataError: as `load_dataset`.
        """
        sets = {
            "questions": load_dataset(job.questions),
            "texts": load_dataset(job.texts, stage="pt"),
            "pairs": load_dataset(job.pairs, stage="preference"),
        }
        rows = cls(sets["questions"].held_out, sets["texts"].held_out, sets["pairs"].held_out)
        for name, dataset in sets.items():
            report = dataset.report
            rows.sources[name] = {
                "source": report.source,
                "sha256": report.sha256,
                "rows": len(dataset.held_out),
            }
        return rows

    def prompts(self, policy: Any, job: EvaluateJob) -> tuple[Prompt, ...]:
        """The questions as the model's own template puts them."""
        from medray.data.rendering.prompts import render_prompts

        data = job.questions
        rendered = render_prompts(
            self.questions,
            policy.tokenizer,
            max_prompt_tokens=data.max_prompt_tokens,
            system=data.system,
            variables=job.chat.variables,
        )
        if rendered.too_long:
            _logger.warning("questions: %s", rendered.skipped().replace("data.", "questions."))
        return rendered.prompts

    def text_trees(self, policy: Any) -> list[PromptTree]:
        """The texts in the model's tokens."""
        from medray.data.batches.examples import TextExamples

        examples = TextExamples(policy.tokenizer, block_tokens=BLOCK_TOKENS, append_eos=False)
        return _trees("texts", self.texts, examples)

    def pair_trees(self, policy: Any, job: EvaluateJob) -> list[PromptTree]:
        """The pairs in the model's tokens."""
        from medray.data.batches.examples import PairExamples
        from medray.data.rendering.chat import renderer_of

        examples = PairExamples(renderer_of(policy.tokenizer), job.chat, job.pairs.system)
        return _trees("pairs", self.pairs, examples)


@contextmanager
def model_evaluator(job: EvaluateJob) -> Iterator[Any]:
    """A `ModelEvaluator` for the block."""
    workers = job.workers.evaluator
    evaluator: Any = ModelEvaluator.options(
        num_cpus=workers.cpus, num_gpus=workers.gpus, resources=workers.custom
    ).remote(job)
    try:
        yield evaluator
    finally:
        ray.kill(evaluator)


@ray.remote
class ModelEvaluator:
    """Evaluates the models of a job; policies are answered for by one engine, each proved by a probe."""

    def __init__(self, job: EvaluateJob) -> None:
        self.job = job
        self.engine: Any = None
        self.version = 0

    def start(self) -> dict[str, dict[str, Any]]:
        """Read the held-out rows; returns where they come from.

        Raises:
            DataError: as `load_dataset`.
        """
        setup_from_environment()
        use_cpu(self.job.workers.evaluator.num_threads)
        self.rows = HeldOutRows.load(self.job)
        return self.rows.sources

    def evaluate(self, model: EvaluatedModel) -> tuple[Cells, list[dict[str, Any]]]:
        """The columns of one model, and the answers of a policy.

        Raises:
            ModelError: the model is missing, or not of the kind that is said.
            WeightSyncError: a policy does not fit the engine, which was started with the first one.
        """
        gc.collect()
        config = self.job.model.model_copy(update={"path": model.path})
        if model.kind == "reward":
            return self._evaluate_reward_model(config), []
        return self._evaluate_policy(model.name, config)

    def _evaluate_policy(
        self, name: str, config: ModelConfig
    ) -> tuple[Cells, list[dict[str, Any]]]:
        from medray.learners.held_out.likelihood import TextLikelihood, likelier_chosen
        from medray.learners.scorer import Scorer
        from medray.models.load import load_policy

        policy = load_policy(config, trainable=False)
        scorer = Scorer(policy, config=self.job.learner)
        prompts = self.rows.prompts(policy, self.job)
        answers = list(graded(name, prompts, self._answers(policy, scorer, prompts)))
        cells = {
            part: interval_of([float(answer[part]) for answer in answers])
            for part in ("form", "right")
        }
        texts = scorer.logprobs(self.rows.text_trees(policy))
        cells["perplexity"] = TextLikelihood.of(texts).perplexity
        cells["pairs"] = likelier_chosen(scorer, self.rows.pair_trees(policy, self.job))
        return cells, answers

    def _evaluate_reward_model(self, config: ModelConfig) -> Cells:
        from medray.learners.held_out.likelihood import scored_higher
        from medray.learners.scorer import Scorer
        from medray.models.load import load_reward_model

        reward = load_reward_model(config, trainable=False)
        scorer = Scorer(reward, config=self.job.learner)
        return {"pairs": scored_higher(scorer, self.rows.pair_trees(reward, self.job))}

    def _answers(self, policy: Any, scorer: Any, prompts: Sequence[Prompt]) -> list[Response]:
        """Greedy answers to the prompts, in their order."""
        from medray.engines.build import engine_kind
        from medray.engines.kind import EngineStart
        from medray.learners.probe import make_probe
        from medray.models.checkpoints.export import delivered_weights
        from medray.types import GenerateSpec, SamplingContract

        job = self.job
        if self.engine is None:
            kind, threads = engine_kind(job.engine, key="engine"), job.workers.evaluator.num_threads
            kind.prepare(job.engine, device=policy.config.device, threads=threads)
            longest = job.questions.max_prompt_tokens + job.max_new_tokens
            self.engine = kind.rollout(
                EngineStart(policy.config, job.engine, max_model_len=longest, threads=threads)
            )
        self.version += 1
        infos = {name: TensorInfo.of(t) for name, t in delivered_weights(policy)}
        manifest = WeightManifest(self.version, infos, make_probe(scorer, self.job.engine.block))
        arrays = ((name, host_array(tensor)) for name, tensor in delivered_weights(policy))
        self.engine.load_weights(manifest, arrays, tolerance=policy.config.logprob_tolerance)
        spec = GenerateSpec(SamplingContract(temperature=0.0), 1, job.max_new_tokens)
        found: dict[int, Response] = {}
        for generated in self.engine.generate(prompts, [0] * len(prompts), spec):
            [found[generated.index]] = generated.responses
        return [found[index] for index in range(len(prompts))]


def graded(
    name: str, prompts: Sequence[Prompt], responses: Sequence[Response]
) -> Iterator[dict[str, Any]]:
    """Each answer with whether it has the form that was asked for (an option's letter, then an end) and is right."""
    from medray.rewards.choice import ChoiceReward

    reward = ChoiceReward()
    for prompt, response in zip(prompts, responses, strict=True):
        parts = {k: v[0] for k, v in reward.score(prompt, [response]).parts.items()}
        yield {
            "model": name,
            "id": prompt.record.id,
            "answer": response.text,
            "gold": prompt.record.answer,
            "form": bool(parts["parsed"] and parts["stopped"]),
            "right": bool(parts["right"]),
        }


def _trees(key: str, records: Sequence[Record], examples: Any) -> list[PromptTree]:
    try:
        return [example.tree for record in records for example in examples(record)]
    except RowError as error:  # every model must be evaluated on the same rows
        raise DataError(f"{key}: a held-out row is {error.reason}: {error.detail}") from None
