"""The canonical record: what its derived fields say, and that it survives a process boundary."""

from __future__ import annotations

import pickle

import pytest

from medray.types import Message, Record

YES: tuple[Message, ...] = ({"role": "assistant", "content": "Yes."},)
NO: tuple[Message, ...] = ({"role": "assistant", "content": "No."},)


@pytest.mark.parametrize(
    ("chosen", "rejected", "label"),
    [((), (), None), (YES, NO, None), (YES, (), True), ((), NO, False)],
)
def test_label_is_only_that_of_an_unpaired_preference(chosen, rejected, label) -> None:
    assert Record("r", (), chosen=chosen, rejected=rejected).label is label


def test_a_record_with_tools_survives_pickling() -> None:
    call: Message = {
        "role": "assistant",
        "content": "",
        "tool_calls": ({"name": "bmi", "arguments": {"kg": 70, "m": 1.75}},),
    }
    record = Record(
        id="r",
        messages=({"role": "user", "content": "BMI?"}, call),
        tools=({"name": "bmi", "parameters": {"type": "object"}},),
        extra={"rubric": [{"points": 1}]},
    )
    assert pickle.loads(pickle.dumps(record)) == record
