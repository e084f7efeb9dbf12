"""The numbers of a summary, worked by hand from the run of conftest.py."""

import math

import pytest

from medray.errors import DataError
from medray.observability.outcome import run_summary


def rewards(values, sem=0.1):
    return {i: {"reward/mean": v, "reward/sem": sem} for i, v in enumerate(values, start=1)}


def test_reward_of_first_and_last_quarter(make_run):
    # Quarters of two steps: 0.261, 0.291 and 0.561, 0.591. Each has variance 0.03^2 / 2 = 0.00045,
    # so the error of its mean is 0.000225, and of the difference sqrt(0.00045).
    change = run_summary(make_run()).reward
    assert change.num_steps == 2
    assert change.first == pytest.approx(0.276)
    assert change.last == pytest.approx(0.576)
    assert change.standard_error == pytest.approx(math.sqrt(0.00045))
    assert change.is_clear


def test_a_quarter_of_one_step_uses_the_errors_within_the_step(make_run):
    change = run_summary(make_run(rewards([0.1, 0.9, 0.2], sem=0.03), {})).reward
    assert (change.num_steps, change.first, change.last) == (1, 0.1, 0.2)
    assert change.standard_error == pytest.approx(0.03 * math.sqrt(2))
    assert change.is_clear


@pytest.mark.parametrize(("last", "clear"), [(0.28, False), (0.30, True), (0.02, False), (0, True)])
def test_clear_means_beyond_two_standard_errors_either_way(make_run, last, clear):
    # Error of the difference: 0.05 * sqrt(2) = 0.0707; twice that is 0.1414.
    change = run_summary(make_run(rewards([0.15, last], sem=0.05), {})).reward
    assert change.is_clear is clear


def test_without_known_errors_nothing_is_clear(make_run):
    steps = {1: {"reward/mean": 0.0}, 2: {"reward/mean": 1.0}}
    change = run_summary(make_run(steps, {})).reward
    assert math.isnan(change.standard_error)
    assert not change.is_clear


def test_steps_without_a_finite_reward_do_not_count(make_run):
    steps = rewards([0.1, math.nan, 0.3]) | {4: {"loss/policy": 0.0}}
    summary = run_summary(make_run(steps, {}))
    assert (summary.reward.first, summary.reward.last) == (0.1, 0.3)
    assert summary.nonfinite == {"reward/mean": 1}
    assert run_summary(make_run(rewards([0.1]), {}, name="one")).reward is None


def test_held_out_before_and_after(make_run):
    summary = run_summary(make_run())
    assert summary.evaluated_steps == (0, 8)
    reward, accuracy = summary.held_out
    assert (reward.name, reward.before.value, reward.after.value) == ("reward", 0.32, 0.54)
    assert reward.is_clear
    assert not accuracy.is_clear
    assert summary.accuracies == (accuracy,)
    once = run_summary(make_run(evals={0: {"reward": (0.5, 0.4, 0.6)}}, name="once"))
    assert once.held_out == ()


def test_time_and_phases(make_run):
    summary = run_summary(make_run())
    assert summary.step_s == 10.0
    assert summary.phases == pytest.approx({"update": 0.6, "generate": 0.3, "other": 0.1})
    assert list(summary.phases) == ["update", "generate", "other"]
    untimed = run_summary(make_run(rewards([1, 2]), {}, name="untimed"))
    assert untimed.phases == {}
    assert math.isnan(untimed.step_s)


def test_files_name_the_newest_checkpoint(make_run):
    folder = make_run()
    for name in (
        "checkpoints/step_9",
        "checkpoints/step_10",
        "checkpoints/step_10.tmp",
        "rollouts",
    ):
        (folder / name).mkdir(parents=True)
    (folder / "rollouts" / "step_00001.parquet").touch()
    assert run_summary(folder).files == (
        "checkpoints/step_10",
        "rollouts/ (1 steps)",
        "metrics.jsonl",
    )


def test_an_empty_run_has_an_empty_summary(make_run, tmp_path):
    summary = run_summary(make_run({}, {}))
    assert (summary.num_steps, summary.reward, summary.held_out) == (0, None, ())
    with pytest.raises(DataError, match="does not exist"):
        run_summary(tmp_path / "nowhere")
