"""A run folder with the metrics of a made-up run, written by the real sink."""

import pytest

from medray.storage.metrics_file import JsonlSink

EVALS = {
    0: {"reward": (0.32, 0.27, 0.37), "accuracy": (0.27, 0.2, 0.35)},
    8: {"reward": (0.54, 0.49, 0.59), "accuracy": (0.23, 0.16, 0.31)},
}


def step_metrics(step):
    return {
        "reward/mean": 0.201 + 0.05 * step + (0.01 if step % 2 else -0.01),
        "reward/sem": 0.03,
        "reward/right": 0.1 * step,
        "rollout/stop_share": step / 8,
        "policy/kl_ref": 0.001 * step,
        "time/generate_s": 3.0,
        "time/update_s": 6.0,
        "time/other_s": 1.0,
        "time/step_s": 10.0,
    }


def eval_metrics(values):
    metrics = {}
    for name, (value, low, high) in values.items():
        metrics |= {f"eval/{name}": value, f"eval/{name}_low": low, f"eval/{name}_high": high}
    return metrics


@pytest.fixture
def make_run(tmp_path):
    """`make_run(steps, evals)` writes metrics.jsonl under a folder and returns the folder."""

    def make(steps=None, evals=None, name="run"):
        folder = tmp_path / name
        steps = {step: step_metrics(step) for step in range(1, 9)} if steps is None else steps
        evals = EVALS if evals is None else evals
        sink = JsonlSink(folder)
        for step in sorted({*steps, *evals}):
            if step in steps:
                sink.record(step, steps[step])
            if step in evals:
                sink.evaluation(step, eval_metrics(evals[step]))
        sink.close()
        return folder

    return make
