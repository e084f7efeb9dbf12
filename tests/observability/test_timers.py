"""StepTimer against a clock that the test moves."""

import time

import pytest

from medray.observability.timers import StepTimer


class Clock:
    def __init__(self):
        self.now_ns = 10**9

    def __call__(self):
        return self.now_ns

    def pass_s(self, seconds):
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def clock():
    return Clock()


def test_phases_and_remainder_add_up_to_the_step(clock):
    timer = StepTimer(clock)
    clock.pass_s(0.5)
    with timer("generate"):
        clock.pass_s(2.0)
    with timer("update"):
        clock.pass_s(3.0)
    with timer("generate"):
        clock.pass_s(0.25)
    clock.pass_s(0.125)
    assert timer.seconds() == {
        "time/generate_s": 2.25,
        "time/update_s": 3.0,
        "time/other_s": 0.625,
        "time/step_s": 5.875,
    }


def test_start_step_forgets_the_step_before(clock):
    timer = StepTimer(clock)
    with timer("generate"):
        clock.pass_s(2.0)
    timer.start_step()
    clock.pass_s(1.0)
    assert timer.seconds() == {"time/other_s": 1.0, "time/step_s": 1.0}


def test_a_failing_phase_is_counted_and_closed(clock):
    timer = StepTimer(clock)

    def fail():
        clock.pass_s(1.5)
        raise KeyError

    with pytest.raises(KeyError), timer("grade"):
        fail()
    with timer("update"):
        clock.pass_s(1.0)
    assert timer.seconds()["time/grade_s"] == 1.5
    assert timer.seconds()["time/other_s"] == 0.0


def test_nesting_is_refused_naming_both_phases(clock):
    timer = StepTimer(clock)
    message = r"timer\('update'\) inside timer\('generate'\): phases cannot be nested"
    with timer("generate"):
        with pytest.raises(RuntimeError, match=message), timer("update"):
            pass
        clock.pass_s(1.0)
    assert timer.seconds()["time/generate_s"] == 1.0
    assert "time/update_s" not in timer.seconds()


@pytest.mark.parametrize("call", ["seconds", "start_step"])
def test_reading_or_restarting_inside_a_phase_is_refused(call):
    timer = StepTimer()
    with timer("sync"), pytest.raises(RuntimeError, match=rf"{call}\(\) inside timer\('sync'\)"):
        getattr(timer, call)()


@pytest.mark.parametrize("phase", ["step", "other"])
def test_reserved_names_are_refused(phase):
    with pytest.raises(ValueError, match=f"reserved \\(time/{phase}_s"), StepTimer()(phase):
        pass


def test_the_real_clock_measures_a_sleep():
    timer = StepTimer()
    with timer("sleep"):
        time.sleep(0.02)
    seconds = timer.seconds()
    assert 0.02 <= seconds["time/sleep_s"] <= seconds["time/step_s"] < 5


def test_each_phase_is_announced_as_it_begins():
    told = []
    timer = StepTimer(on_phase=told.append)
    with timer("generate"):
        assert told == ["generate"]
    with timer("update"):
        pass
    assert told == ["generate", "update"]
