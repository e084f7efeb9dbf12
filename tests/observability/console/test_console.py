"""What people see of a run, line by line."""

import io

import pytest

from medray.observability.console.columns import Eta
from medray.observability.console.open import open_console
from medray.observability.console.plain import PlainConsole, QuietConsole
from medray.observability.console.rich import RichConsole
from medray.observability.formatting import duration, estimate, number, percent, signed
from medray.observability.held_out import held_out, is_accuracy, with_ends
from medray.observability.intervals import Interval

STEP = {
    "reward/mean": 0.3149,
    "reward/sem": 0.05,
    "rollout/stop_share": 0.45,
    "policy/kl_ref": 0.002,
    "rollout/tokens_per_s": 1204.4,
    "time/step_s": 22.41,
    "loss/policy": 0.1,
}
EVAL = {
    "eval/accuracy": 0.27,
    "eval/accuracy_low": 0.2,
    "eval/accuracy_high": 0.35,
    "eval/stop_share": 0.5,
}


class TerminalStream(io.StringIO):
    def isatty(self):
        return True


def test_a_plain_step_line():
    stream = io.StringIO()
    PlainConsole(30, stream).record(3, STEP)
    assert " ".join(stream.getvalue().split()) == (
        "step 3/30 reward 0.31 ±0.05 stop 45% kl 0.002 1,204 tok/s 22.4 s eta 10 min"
    )
    assert stream.getvalue().startswith("step  3/30  reward 0.31 ±0.05   stop 45%")


def test_plain_lines_stay_aligned():
    stream = io.StringIO()
    console = PlainConsole(30, stream)
    console.record(9, STEP)
    console.record(10, STEP | {"reward/mean": -0.5, "rollout/stop_share": 1.0, "time/step_s": 9.0})
    first, second = stream.getvalue().splitlines()
    for word in ("reward", "stop", "kl", "tok/s", " s ", "eta"):
        assert first.index(word) == second.index(word)


def test_absent_metrics_are_left_out():
    stream = io.StringIO()
    PlainConsole(2, stream).record(1, {"reward/mean": 0.5})
    assert stream.getvalue() == "step 1/2  reward 0.50\n"


def test_behaviour_kl_stands_in_for_an_absent_reference():
    stream = io.StringIO()
    console = PlainConsole(2, stream)
    console.record(1, {"policy/kl_behaviour": 0.25})
    console.record(2, {"policy/kl_behaviour": 0.25, "policy/kl_ref": 0.5})
    assert stream.getvalue().splitlines() == ["step 1/2  kl_old 0.25", "step 2/2  kl 0.50"]


def test_header_note_and_evaluation_lines():
    stream = io.StringIO()
    console = PlainConsole(30, stream)
    console.header({"run": "runs/grpo", "resources": "2 cores"})
    console.evaluation(0, EVAL)
    console.note("checkpoint step_30")
    console.close()
    assert stream.getvalue().splitlines() == [
        "run        runs/grpo",
        "resources  2 cores",
        "eval  0/30  accuracy 0.27 [0.20, 0.35]  stop_share 0.50",
        "checkpoint step_30",
    ]


def test_a_stream_without_the_sign_gets_ascii():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    console = PlainConsole(3, stream)
    console.record(3, STEP)
    console.note("Größe")
    text = raw.getvalue().decode("ascii")
    assert "reward 0.31 +/-0.05" in text
    assert "Gr??e" in text


def test_time_left_is_the_median_of_recent_steps():
    eta = Eta(100)
    assert eta.after(1, {}) is None
    assert eta.after(1, {"time/step_s": 600.0}) == "16 h 30 min"
    for step in (2, 3):
        eta.after(step, {"time/step_s": 10.0})
    assert eta.after(94, {"time/step_s": 10.0}) == "60 s"
    assert eta.after(100, {"time/step_s": 10.0}) is None


def test_time_left_forgets_old_steps():
    eta = Eta(100)
    for step in range(1, 11):
        eta.after(step, {"time/step_s": 1.0})
    for step in range(11, 20):
        eta.after(step, {"time/step_s": 5.0})
    assert eta.after(20, {"time/step_s": 5.0}) == "7 min"


def test_rich_has_a_table_with_a_row_a_step_and_fits_the_terminal():
    stream = TerminalStream()
    console = RichConsole(12, stream)
    console._terminal.width = 39
    console.header({"run": "runs/grpo"})
    console.phase("generate")
    console.record(1, STEP)
    console.evaluation(1, EVAL)
    console.record(2, STEP | {"rollout/stop_share": 0.5})
    console.close()
    text = stream.getvalue()
    assert "tok/s" not in text
    assert "step       reward  stop       kl" in text
    assert "   1   0.31 ±0.05   45%    0.002" in text
    assert "   2   0.31 ±0.05   50%    0.002" in text
    assert "accuracy 0.27 [0.20, 0.35]" in text
    assert " 2/12" in text
    assert "\x1b[?25h" in text


def test_modes(monkeypatch):
    assert isinstance(open_console("auto", 3, io.StringIO()), PlainConsole)
    assert isinstance(open_console("auto", 3, TerminalStream()), RichConsole)
    assert isinstance(open_console("rich", 3, io.StringIO()), RichConsole)
    assert isinstance(open_console("plain", 3, TerminalStream()), PlainConsole)
    assert isinstance(open_console("quiet", 3), QuietConsole)


def test_quiet_prints_nothing(capsys):
    console = open_console("quiet", 3)
    console.header({"run": "x"})
    console.note("y")
    console.phase("z")
    console.record(1, STEP)
    console.evaluation(1, EVAL)
    console.close()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (duration(22.44), "22.4 s"),
        (duration(89.9), "89.9 s"),
        (duration(540), "9 min"),
        (duration(3900), "65 min"),
        (duration(7500), "2 h 05 min"),
        (duration(float("nan")), "?"),
        (number(1204.4), "1,204"),
        (number(-22.44), "-22.4"),
        (number(0.314), "0.31"),
        (number(0.0021), "0.0021"),
        (number(0.05), "0.05"),
        (number(1.2e-5), "1.2e-05"),
        (number(0), "0.00"),
        (number(float("nan")), "nan"),
        (percent(0.449), "45%"),
        (percent(float("nan")), "nan"),
        (signed(0.211), "+0.21"),
        (signed(-0.211), "-0.21"),
        (estimate(0.27, 0.2, 0.35), "0.27 [0.20, 0.35]"),
        (estimate(0.27), "0.27"),
    ],
)
def test_numbers_read_well(shown, text):
    assert shown == text


def test_held_out_pairs_values_with_their_ends():
    values = held_out({**EVAL, "reward/mean": 1.0, "eval/set_low": 3.0})
    assert list(values) == ["accuracy", "stop_share", "set_low"]
    assert (values["accuracy"].value, values["accuracy"].low, values["accuracy"].high) == (
        0.27,
        0.2,
        0.35,
    )
    assert values["set_low"].value == 3.0
    assert str(values["stop_share"].low) == "nan"
    assert is_accuracy("icd10_accuracy")
    assert is_accuracy("choice/right")
    assert not is_accuracy("choice/parsed")
    assert not is_accuracy("reward")


def test_held_out_reads_back_what_with_ends_writes():
    found = Interval(0.27, 0.2, 0.35, 0)
    assert held_out(with_ends("eval/accuracy", found)) == {"accuracy": found}


def test_held_out_leaves_out_counts_and_the_reward_said_twice():
    metrics = {"eval/num_items": 128.0, "eval/reward": 0.5, "eval/choice/score": 0.5}
    assert list(held_out(metrics)) == ["reward"]
    assert list(held_out(metrics | {"eval/choice/score": 0.25})) == ["reward", "choice/score"]


def test_an_evaluation_line_keeps_to_the_headline():
    stream = io.StringIO()
    console = PlainConsole(3, stream)
    parts = {"eval/reward": 0.5, "eval/choice/parsed": 0.7, "eval/choice/right": 0.25}
    console.evaluation(1, parts)
    console.evaluation(2, {"eval/perplexity": 12.25})
    assert stream.getvalue().splitlines() == [
        "eval 1/3  reward 0.50  choice/right 0.25",
        "eval 2/3  perplexity 12.2",
    ]
