"""Batch inference on Ray Data: chunks of rows flow through a pool of engines and come back as they are done."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray.data
from ray.exceptions import RayError

from medray.config.generate import GenerateJob
from medray.config.model import ModelConfig
from medray.data.prompts import dialogue
from medray.engines.base import Order
from medray.errors import DataError, MedrayError, ModelError, WorkerLost, known_cause
from medray.models.served import Model

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that follow each other in the input; each has `position`, `id`, and `row` or `error`."""

    number: int
    rows: tuple[Row, ...]


def answer_chunks(job: GenerateJob, model: Model, chunks: Sequence[Chunk]) -> Iterator[Chunk]:
    """Answer `chunks` on `job.workers.engine.count` engines; each comes back once, in any order.

    A row of the result has `id`, `sample`, `response`, `finish_reason`, `num_prompt_tokens`, `num_new_tokens`, `error`
    and the input's `row`. An engine that dies is replaced and its chunk done again.

    Raises:
        ModelError: the engine cannot load the model.
        WorkerLost: the pool could not be kept up.
    """
    _quiet()
    engines = job.workers.engine
    items = [{"number": c.number, "rows": json.dumps(c.rows)} for c in chunks]
    dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        AnswerRows,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=engines.count),
        fn_constructor_kwargs={"job": job, "model": model},
        num_cpus=engines.cpus,
        num_gpus=engines.gpus or None,
        resources=engines.custom or None,
    )
    try:
        for item in dataset.iter_rows():
            yield Chunk(int(item["number"]), tuple(json.loads(item["rows"])))
    except RayError as error:
        raise _cause(error) from None


class AnswerRows:
    """Stateful Ray Data operator: one vLLM engine that answers chunks of rows."""

    def __init__(self, job: GenerateJob, model: Model) -> None:
        from medray.engines.build import engine_kind
        from medray.models.tokenizer import load_tokenizer

        self._job = job
        self._engine = engine_kind(job.engine, key="engine").batch(job, model)
        source = str(model.adapters[0].folder) if model.adapters else model.source
        self._tokenizer = load_tokenizer(
            ModelConfig(path=source, template=job.template, trust_remote_code=job.trust_remote_code)
        )

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Answer the rows of one chunk; rows go in and come out as JSON strings."""
        answered = [json.dumps(self._answer(json.loads(rows))) for rows in batch["rows"]]
        return {"number": batch["number"], "rows": answered}

    def _answer(self, rows: list[Row]) -> list[Row]:
        orders: list[Order] = []
        for row in rows:
            if row.get("error") is None:
                try:
                    orders.append(Order(row["position"], self._token_ids(row["row"])))
                except MedrayError as error:
                    row["error"] = str(error)
        answers = self._engine.generate(orders) if orders else []
        by_position = {o.position: (o, found) for o, found in zip(orders, answers, strict=True)}
        results: list[Row] = []
        for row in rows:
            order, found = by_position.get(row["position"], (None, ()))
            if order is None:
                results.append(_result(row, 0, error=row["error"]))
            for sample, answer in enumerate(found):
                results.append(
                    _result(
                        row,
                        sample,
                        response=answer.text,
                        finish_reason=answer.finish_reason,
                        num_prompt_tokens=len(order.token_ids) if order else 0,
                        num_new_tokens=answer.num_tokens,
                    )
                )
        return results

    def _token_ids(self, row: Row) -> Any:
        import numpy as np

        from medray.data.rendering.chat import ChatOptions, renderer_of

        messages = dialogue(row, self._job.prompts)
        if self._job.prompts.chat:
            import jinja2

            try:
                ids = renderer_of(self._tokenizer).prompt_ids(messages, ChatOptions())
            except (jinja2.TemplateError, TypeError) as error:
                raise DataError(f"the chat template rejects the dialogue: {error}") from None
        else:
            ids = np.asarray(self._tokenizer(messages[-1]["content"])["input_ids"], dtype=np.int32)
        room = self._engine.max_model_len - self._job.sampling.max_new_tokens
        if len(ids) > room:
            raise DataError(
                f"the prompt has {len(ids)} tokens, but only {room} fit together with sampling.max_new_tokens: "
                "lower sampling.max_new_tokens, or shorten the prompt"
            )
        return ids


def _result(row: Row, sample: int, **answer: Any) -> Row:
    empty = {
        "response": None,
        "finish_reason": None,
        "num_prompt_tokens": 0,
        "num_new_tokens": 0,
        "error": None,
    }
    return {"id": row["id"], "sample": sample, **empty, **answer, "row": row["row"]}


def _quiet() -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _cause(error: BaseException) -> MedrayError:
    """What went wrong in a worker, as an error of ours."""
    if (known := known_cause(error)) is not None:
        return known
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in reversed(lines):
        if "ModelError:" in line:
            return ModelError(line.partition("ModelError:")[2].strip())
    return WorkerLost(f"batch inference failed: {lines[-1] if lines else type(error).__name__}")
