"""Sinks write what was recorded in whole lines; a resumed run reads like an undisturbed one."""

import errno
import json
import math
import os
import sys
from datetime import datetime

import pytest

from medray.config.run import LoggingConfig
from medray.errors import ConfigError, DataError, ResourceError
from medray.observability.sinks import CompositeSink, LargestStep, open_sinks
from medray.observability.trackers import MlflowSink, TensorBoardSink, WandbSink
from medray.storage.metrics_file import JsonlSink, MetricRow, read_metrics


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def run(sink, steps):
    for step in steps:
        sink.record(step, {"reward/mean": step / 7, "time/step_s": 1.5})
        if step % 2 == 0:
            sink.evaluation(step, {"eval/accuracy": step / 10})
    sink.close()


def comparable(folder):
    return [(row.step, row.kind, row.untimed()) for row in read_metrics(folder)]


def test_a_line_holds_step_kind_time_and_metrics(tmp_path):
    sink = JsonlSink(tmp_path)
    sink.record(3, {"reward/mean": 0.1, "num": 2})
    sink.close()
    (row,) = lines(tmp_path)
    assert datetime.fromisoformat(row.pop("time")).utcoffset().total_seconds() == 0
    assert 0 <= row.pop("wall_s") < 60
    assert row == {"step": 3, "kind": "train", "reward/mean": 0.1, "num": 2.0}


def test_each_line_is_on_disk_at_once(tmp_path):
    sink = JsonlSink(tmp_path)
    for step in (1, 2, 3):
        sink.record(step, {})
        assert [row["step"] for row in lines(tmp_path)] == list(range(1, step + 1))
    sink.close()
    sink.close()


def test_nonfinite_values_become_null_and_are_named(tmp_path):
    sink = JsonlSink(tmp_path)
    sink.record(1, {"a": math.nan, "b": -math.inf, "c": 1.0})
    sink.close()
    (row,) = lines(tmp_path)
    assert (row["a"], row["b"], row["c"], row["nonfinite"]) == (None, None, 1.0, ["a", "b"])
    (read,) = read_metrics(tmp_path)
    assert math.isnan(read.metrics["a"])
    assert math.isnan(read.metrics["b"])
    assert read.metrics["c"] == 1.0


def test_own_keys_are_refused_as_metric_names(tmp_path):
    sink = JsonlSink(tmp_path)
    with pytest.raises(ValueError, match="metric name 'step'"):
        sink.record(1, {"step": 1.0})
    sink.close()
    assert lines(tmp_path) == []


def test_resumed_equals_undisturbed_except_times(tmp_path):
    run(JsonlSink(tmp_path / "whole"), range(1, 7))
    broken = tmp_path / "broken"
    run(JsonlSink(broken), range(1, 6))  # two steps past the checkpoint of step 3, then killed
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "kin')
    run(JsonlSink(broken, resume_step=3), range(4, 7))
    assert comparable(broken) == comparable(tmp_path / "whole")
    assert [step for step, _, _ in comparable(broken)] == [1, 2, 2, 3, 4, 4, 5, 6, 6]


def test_a_whole_last_line_without_its_newline_is_kept(tmp_path):
    run(JsonlSink(tmp_path), range(1, 2))
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    run(JsonlSink(tmp_path, resume_step=1), range(2, 3))
    assert [row["step"] for row in lines(tmp_path)] == [1, 2, 2]


def test_the_clock_goes_on_where_the_earlier_run_stopped(tmp_path):
    run(JsonlSink(tmp_path), range(1, 2))
    path = tmp_path / "metrics.jsonl"
    row = lines(tmp_path)[0] | {"wall_s": 1000.0}
    path.write_text(json.dumps(row) + "\n")
    run(JsonlSink(tmp_path, resume_step=1), range(2, 3))
    assert 1000.0 <= lines(tmp_path)[1]["wall_s"] < 1060.0


def test_without_resume_the_file_starts_anew_and_step_0_keeps_the_first_evaluation(tmp_path):
    sink = JsonlSink(tmp_path)
    sink.evaluation(0, {"eval/accuracy": 0.25})
    run(sink, range(1, 3))
    run(JsonlSink(tmp_path, resume_step=0), range(1, 2))
    assert [(row["step"], row["kind"]) for row in lines(tmp_path)] == [(0, "eval"), (1, "train")]
    run(JsonlSink(tmp_path), range(1, 2))
    assert [(row["step"], row["kind"]) for row in lines(tmp_path)] == [(1, "train")]


def test_damage_before_the_last_line_is_an_error_with_its_line(tmp_path):
    run(JsonlSink(tmp_path), range(1, 3))
    path = tmp_path / "metrics.jsonl"
    path.write_text("not json\n" + path.read_text())
    with pytest.raises(DataError, match=r"metrics\.jsonl:1: not a metrics line"):
        JsonlSink(tmp_path, resume_step=2)
    with pytest.raises(DataError, match="does not exist"):
        read_metrics(tmp_path / "elsewhere")


def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch):
    sink = JsonlSink(tmp_path)
    sink.record(1, {"a": 1.0})
    before = sink.path.read_bytes()

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(ResourceError, match=r"metrics\.jsonl: the disk is full"):
            sink.record(2, {"a": 2.0})
    assert sink.path.read_bytes() == before
    sink.record(2, {"a": 2.0})
    sink.close()
    assert [row["a"] for row in lines(tmp_path)] == [1.0, 2.0]


def test_untimed_drops_clock_readings_only():
    row = MetricRow(1, "train", {"time/step_s": 1, "rollout/tokens_per_s": 2, "loss/policy": 3})
    assert row.untimed() == {"loss/policy": 3}


def scalars(folder, tag):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "events"))
    events.Reload()
    return [(event.step, round(event.value, 6)) for event in events.Scalars(tag)]


def test_tensorboard_shows_a_resumed_run_without_the_lost_steps(tmp_path):
    run(TensorBoardSink(tmp_path), range(1, 6))
    resumed = TensorBoardSink(tmp_path, resume_step=3)
    for step in (4, 5, 6):
        resumed.record(step, {"reward/mean": float(step)})
    resumed.close()
    resumed.close()
    assert scalars(tmp_path, "reward/mean") == [
        (1, 0.142857),
        (2, 0.285714),
        (3, 0.428571),
        (4, 4.0),
        (5, 5.0),
        (6, 6.0),
    ]


def test_open_sinks_follows_the_config_and_feeds_every_sink(tmp_path):
    class Recorder:
        def __init__(self):
            self.calls = []

        def record(self, step, metrics):
            self.calls.append(("train", step, dict(metrics)))

        def evaluation(self, step, metrics):
            self.calls.append(("eval", step, dict(metrics)))

        def close(self):
            self.calls.append("closed")

    recorder = Recorder()
    with open_sinks(tmp_path, LoggingConfig(tensorboard=False), extra=[recorder]) as sinks:
        sinks.evaluation(0, {"eval/accuracy": 0.5})
        sinks.record(1, {"loss/policy": 0.25})
    assert not (tmp_path / "events").exists()
    assert recorder.calls == [
        ("eval", 0, {"eval/accuracy": 0.5}),
        ("train", 1, {"loss/policy": 0.25}),
        "closed",
    ]
    assert comparable(tmp_path) == [
        (0, "eval", {"eval/accuracy": 0.5}),
        (1, "train", {"loss/policy": 0.25}),
    ]
    with open_sinks(tmp_path, LoggingConfig(tensorboard=True)):
        assert (tmp_path / "events").is_dir()


def test_close_reaches_every_sink_when_one_fails(tmp_path):
    class Failing:
        def close(self):
            raise RuntimeError("cannot close")

    jsonl = JsonlSink(tmp_path)
    with pytest.raises(RuntimeError, match="cannot close"):
        CompositeSink([jsonl, Failing()]).close()
    with pytest.raises(ValueError, match="closed file"):
        jsonl.record(1, {})


@pytest.mark.parametrize(("sink", "package"), [(WandbSink, "wandb"), (MlflowSink, "mlflow")])
def test_a_missing_tracker_is_one_line(tmp_path, monkeypatch, sink, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ConfigError, match=f"^{package} is not installed: pip install {package}, or"
    ):
        sink(tmp_path)


def test_an_unknown_tracker_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="unknown tracker 'wanda': choose from wandb, mlflow"):
        open_sinks(tmp_path, LoggingConfig(tensorboard=False), trackers=["wanda"])


def test_mlflow_continues_its_run_on_resume_and_survives_its_store(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is optional and not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    off = LoggingConfig(tensorboard=False)
    with open_sinks(tmp_path, off, trackers=["mlflow"]) as sinks:
        sinks.record(1, {"reward/mean": 0.1, "optim/grad_norm": math.nan})
    with open_sinks(tmp_path, off, resume_step=1, trackers=["mlflow"]) as sinks:
        sinks.record(2, {"reward/mean": 0.2})
        run_id = (tmp_path / "mlflow_run.txt").read_text()
        history = mlflow.MlflowClient().get_metric_history(run_id, "reward/mean")
        assert [(metric.step, metric.value) for metric in history] == [(1, 0.1), (2, 0.2)]

        def unreachable(*args, **kwargs):
            raise mlflow.MlflowException("no server")

        monkeypatch.setattr(mlflow, "log_metrics", unreachable)
        sinks.record(3, {"reward/mean": 0.3})
    assert [row["step"] for row in lines(tmp_path)] == [1, 2, 3]


def test_wandb_continues_its_run_on_resume(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is optional and not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    ids = []
    for resume_step in (None, 1, None):
        sink = WandbSink(tmp_path, resume_step)
        sink.record(1, {"reward/mean": 0.1})
        sink.close()
        ids.append((tmp_path / "wandb_run.txt").read_text())
    assert ids[0] == ids[1] != ids[2]
    assert any((tmp_path / "wandb").glob(f"offline-run-*-{ids[0]}"))


def test_the_largest_step_is_remembered_with_all_its_tokens(tmp_path):
    largest = LargestStep("rollout/prompt_tokens", "rollout/tokens")
    with open_sinks(tmp_path, LoggingConfig(tensorboard=False), extra=[largest]) as sink:
        assert largest.num_tokens == 0
        for step, (prompt, sampled) in enumerate([(5, 7), (9, 4), (6, 1)], 1):
            sink.record(step, {"rollout/prompt_tokens": prompt, "rollout/tokens": sampled})
        sink.evaluation(3, {"reward/mean": 1.0})
    assert largest.num_tokens == 13
