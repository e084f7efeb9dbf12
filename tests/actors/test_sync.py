"""Which calls each kind of sync makes, in order; the tensors themselves are tested on a real engine elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from medray.actors.rollout.pool import RolloutPool
from medray.actors.sync import DirectSync, FormChoice, ObjectStoreSync, make_sync
from medray.actors.training.learner_group import LearnerGroup
from medray.config.cluster import SyncConfig
from medray.config.model import LoraConfig
from medray.types import Probe, WeightManifest
from tests.support.jobs import tiny_job

PROBE = Probe(np.arange(3, dtype=np.int32), np.zeros(2, dtype=np.float32))


class _Log:
    """Notes every method called on it."""

    def __init__(self, log: list[str], answers: dict[str, Any]) -> None:
        self.log = log
        self.answers = answers
        self.handles = {"rollout-0": "handle"}

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.log.append(name)
            return self.answers.get(name)

        return call


def _ends(log: list[str]) -> tuple[LearnerGroup, RolloutPool]:
    answers = {"probe": PROBE, "send": WeightManifest(3, {}, PROBE), "load": 1e-5, "end_sync": 2e-5}
    return cast(LearnerGroup, _Log(log, answers)), cast(RolloutPool, _Log(log, answers))


def test_object_store_sync_publishes_then_loads(tiny_model: Path, tmp_path: Path) -> None:
    log: list[str] = []
    sync = ObjectStoreSync(*_ends(log), FormChoice(tiny_job(tiny_model, tmp_path)))
    assert sync(3) == 1e-5
    assert log == ["publish", "load"]


def _choice(base: Path, folder: Path, **overrides: Any) -> FormChoice:
    job = tiny_job(base, folder)
    return FormChoice(job.model_copy(update={"deterministic": False, **overrides}))


@pytest.mark.parametrize(("slower", "chosen"), [("factors", "merged"), ("merged", "factors")])
def test_each_form_is_timed_once_it_has_brought_what_it_needs_once(
    tiny_model: Path, tmp_path: Path, slower: str, chosen: str
) -> None:
    choice, taken = _choice(tiny_model, tmp_path), []
    for number in range(6):
        taken.append(form := choice.next())
        first = number % 2 == 0
        choice.took(form, 9.0 if first else 1.0 + (form == slower))
    assert taken == ["factors", "factors", "merged", "merged", chosen, chosen]


def test_the_form_that_is_kept_is_logged_once(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lora = tiny_job(tiny_model, tmp_path).model.model_copy(update={"lora": LoraConfig()})
    choice = _choice(tiny_model, tmp_path, model=lora)
    with caplog.at_level("INFO", logger="medray"):
        for number in range(6):
            choice.took(choice.next(), 9.0 if number % 2 == 0 else 1.0 + number)
    assert [record.getMessage() for record in caplog.records] == [
        "sync.adapters=auto: sending adapters as factors (factors 2.00 s, merged 4.00 s)"
    ]


def test_a_deterministic_run_and_one_that_is_told_to_choose_nothing(
    tiny_model: Path, tmp_path: Path
) -> None:
    told = SyncConfig(adapters="merged")
    for choice, form in [
        (_choice(tiny_model, tmp_path, deterministic=True), "factors"),
        (_choice(tiny_model, tmp_path, sync=told), "merged"),
    ]:
        for _ in range(5):
            assert choice.next() == form
            choice.took(choice.next(), 1.0)


def test_direct_sync_connects_once_and_closes_the_transaction_each_time() -> None:
    log: list[str] = []
    sync = DirectSync(*_ends(log))
    assert sync(3) == 2e-5
    sync(4)
    round_trip = ["probe", "begin_sync", "send", "end_sync"]
    assert log == ["connect", *round_trip, *round_trip]


def test_backend_chooses_the_sync(tiny_model: Path, tmp_path: Path) -> None:
    job = tiny_job(tiny_model, tmp_path)
    assert isinstance(make_sync(job, *_ends([])), ObjectStoreSync)
    direct = job.model_copy(update={"sync": job.sync.model_copy(update={"backend": "nccl"})})
    assert isinstance(make_sync(direct, *_ends([])), DirectSync)


def test_engines_of_the_direct_transfer_have_ranks_of_their_own() -> None:
    """The learner is rank 0; two engines of two ranks each start at 1 and 3."""
    from medray.engines.vllm.direct_transfer import EngineClient

    calls: list[tuple[str, list[Any]]] = []
    client = EngineClient(lambda method, arguments: calls.append((method, list(arguments))), 2, 2)
    client.init_weight_transfer_engine({"rank_offset": 1, "world_size": 5})
    client.update_weights({"names": []})
    method, arguments = calls[0]
    assert method == "init_weight_transfer_engine"
    assert [info["rank_offset"] for (info,) in arguments] == [1, 3]
    assert calls[1] == ("update_weights", [({"names": []},)] * 2)
