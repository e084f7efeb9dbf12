"""One answer at a time, and what is asked meanwhile is kept."""

from __future__ import annotations

import pytest

from medray.serve.web.turns import Turns


def test_what_is_asked_meanwhile_waits_for_the_answer() -> None:
    turns = Turns()
    assert turns.ask("a")
    assert not turns.ask("a"), "asked again before the answer began"
    assert turns.ask("b"), "another tab has its own"
    with turns.running("a") as ours:
        assert ours is not None
        with turns.running("a") as second:
            assert second is None
        assert not turns.ask("a")
        turns.keep("a", "one")
        turns.keep("a", "two")
        assert turns.waiting("a") == turns.take("a") == "one\ntwo"
        assert turns.take("a") == ""
    assert turns.ask("a")


def test_a_failure_frees_the_session() -> None:
    turns = Turns()
    turns.ask("a")
    with pytest.raises(KeyError), turns.running("a"):
        raise KeyError
    assert turns.ask("a")


def test_an_answer_that_is_stopped_gives_back_what_waited_and_frees_nobody_elses() -> None:
    turns = Turns()
    turns.ask("a")
    with turns.running("a") as stopped:
        turns.keep("a", "one")
        assert turns.stop("a") == "one"
        assert stopped is not None
        assert stopped.is_stopped
        assert turns.ask("a"), "a new answer while the stopped one still ends"
    assert not turns.ask("a"), "the stopped one's end took the new one's turn"
    assert turns.stop("none") == ""


def test_nothing_runs_that_was_not_asked_for() -> None:
    with Turns().running("a") as ours:
        assert ours is None
