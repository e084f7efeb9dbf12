"""The summary in words: short, aligned, and silent about skill that was not shown."""

import math

from medray.observability.summary import format_summary, run_summary, skill_words


def text_of(folder):
    return format_summary(run_summary(folder))


def test_a_usual_run_reads_in_a_dozen_lines(make_run):
    folder = make_run()
    (folder / "config.json").write_text("{}")
    lines = text_of(folder).splitlines()
    assert lines[0] == f"run        {folder}"
    assert lines[1].startswith("steps      8, ")
    assert lines[2:] == [
        "reward     0.28 in the first 2 steps, 0.58 in the last: +0.30, standard error 0.0212",
        "           rose by more than two standard errors",
        "held out   95% intervals  step 0             step 8",
        "           reward         0.32 [0.27, 0.37]  0.54 [0.49, 0.59]  rose, intervals apart",
        "           accuracy       0.27 [0.20, 0.35]  0.23 [0.16, 0.31]  intervals overlap",
        "skill      held-out accuracy intervals overlap, so no medical skill is claimed "
        "from this run",
        "time       median step 10.0 s: update 60%, generate 30%, other 10%",
        "files      metrics.jsonl",
        "           config.json",
    ]


def test_a_clear_accuracy_is_evidence_on_this_task_only(make_run):
    evals = {0: {"accuracy": (0.2, 0.1, 0.3)}, 8: {"accuracy": (0.5, 0.4, 0.6)}}
    words = skill_words(run_summary(make_run(evals=evals)))
    assert words == (
        "accuracy rose beyond the intervals: evidence on this task only, not of clinical competence"
    )
    fallen = {0: evals[8], 8: evals[0]}
    assert skill_words(run_summary(make_run(evals=fallen))).startswith("accuracy fell beyond")


def test_without_accuracy_nothing_is_claimed(make_run):
    words = skill_words(run_summary(make_run(evals={})))
    assert (
        words == "no held-out accuracy was measured, so no medical skill is claimed from this run"
    )


def test_accuracy_without_intervals_shows_nothing(make_run):
    evals = {step: {"accuracy": (step / 8, math.nan, math.nan)} for step in (0, 8)}
    text = text_of(make_run(evals=evals))
    assert "intervals overlap" not in text.split("skill")[0]
    assert "no medical skill is claimed" in text


def test_no_change_and_nothing_measured(make_run):
    steps = {i: {"reward/mean": 0.5 + 0.1 * (i % 2)} for i in range(1, 9)}
    text = text_of(make_run(steps, {}))
    assert "no change beyond two standard errors" in text
    assert "held out   evaluated fewer than twice: nothing to compare" in text
    assert "median step" not in text
    empty = text_of(make_run({}, {}, name="empty"))
    assert "fewer than two steps were graded" in empty


def test_falling_reward_and_non_finite_values_are_said(make_run):
    steps = {i: {"reward/mean": -float(i), "optim/grad_norm": math.inf} for i in range(1, 9)}
    text = text_of(make_run(steps, {}))
    assert "fell by more than two standard errors" in text
    assert "not finite optim/grad_norm (8x)" in text


def test_small_phases_are_added_up(make_run):
    phases = {"generate": 9.9, "grade": 0.06, "sync": 0.04}
    steps = {1: {f"time/{name}_s": value for name, value in phases.items()} | {"time/step_s": 10.0}}
    assert "median step 10.0 s: generate 99%, rest 1%" in text_of(make_run(steps, {}))
