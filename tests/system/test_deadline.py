"""Calls without a deadline of their own get one."""

from __future__ import annotations

import threading
import time

import pytest

from medray.system.deadline import url_answers, within


def test_the_result_and_the_error_of_a_call_come_through() -> None:
    assert within(30, lambda: 5) == 5
    assert within(30, lambda: None) is None
    with pytest.raises(KeyError, match="absent"):
        within(30, lambda: {}["absent"])


def test_a_call_that_does_not_return_is_left_behind() -> None:
    never = threading.Event()
    began = time.monotonic()
    try:
        with pytest.raises(TimeoutError, match=r"no answer in 0\.1 s"):
            within(0.1, lambda: never.wait(60))
        assert time.monotonic() - began < 30
    finally:
        never.set()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "no url", "http://[::"])
def test_an_address_that_nobody_answers(url: str) -> None:
    assert not url_answers(url, 5)
