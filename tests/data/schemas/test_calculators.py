"""`data.kind: calculators`: sides, phrasings, and gold answers that the reward pays."""

from __future__ import annotations

import re

import numpy as np
import pytest

from medray.config.data import DataConfig
from medray.data.loading.load import load_dataset
from medray.data.schemas.calculators import calculator_sides
from medray.medical.calculators.catalog import calculators
from medray.medical.calculators.notes import HELD_OUT_PHRASINGS, TRAIN_PHRASINGS
from medray.rewards.calculation import CalculationReward
from medray.types import Prompt, Record
from tests.rewards.helpers import response

TIMES = re.compile(r"\d+(?:\.\d+)?")


def load(kind: str = "calculators", **settings: int):
    return load_dataset(
        DataConfig.model_validate({"kind": kind, "num_train": 60, "num_eval": 20, **settings})
    )


def right(record: Record, text: str) -> float:
    item = Prompt(record, np.array([1], np.int32))
    return CalculationReward().score(item, [response(text)]).parts["right"][0]


@pytest.mark.parametrize("kind", ["calculators", "calculators-zh"])
def test_gold_answers_are_paid_and_others_are_not(kind: str) -> None:
    dataset = load(kind)
    assert (len(dataset.train), len(dataset.held_out)) == (60, 20)
    for record in (*dataset.train, *dataset.held_out):
        assert right(record, record.answer) == 1.0
        assert right(record, f"Some steps: 1 + 1 = 2.\nAnswer: {record.answer}") == 1.0
        assert right(record, f"过程：1+1=2。\n答案：{record.answer}") == 1.0
        value = float(record.answer.split()[0])
        assert right(record, f"Answer: {value * 10 + 1}") == 0.0
        is_rule = record.extra["output_type"] == "integer"
        assert right(record, f"Answer: {value * 1.03 + 0.2 * is_rule}") == float(not is_rule)


def test_held_out_problems_use_other_calculators_or_other_phrasings() -> None:
    dataset = load(num_train=300, num_eval=60)
    train, held_out = (
        {(str(r.extra["calculator"]), str(r.extra["phrasing"])) for r in side}
        for side in (dataset.train, dataset.held_out)
    )
    trained = {calculator for calculator, _ in train}
    assert {phrasing for _, phrasing in train} == set(TRAIN_PHRASINGS)
    assert all(c not in trained or p in HELD_OUT_PHRASINGS for c, p in held_out)
    assert any(c not in trained for c, _ in held_out)
    assert any(c in trained for c, _ in held_out)
    ours, theirs = calculator_sides(17)
    assert {c.module for c in ours} & {c.module for c in theirs} == set()
    assert len(ours) + len(theirs) == len(calculators())


def test_problems_depend_on_index_and_seed_only() -> None:
    few, many = load(num_train=20), load(num_train=60)
    assert few.train == many.train[:20]
    assert load(seed=5).train[0].messages != few.train[0].messages
    english, chinese = load().train[0], load("calculators-zh").train[0]
    assert (english.lang, chinese.lang) == ("en", "zh")
    assert "Patient note" in english.messages[0]["content"]
    assert "病历" in chinese.messages[0]["content"]


def test_dates_and_spans_of_medcalc_bench() -> None:
    date = Record(id="d", messages=(), answer="04/23/2021", extra={"output_type": "date"})
    assert right(date, "The due date is 04/23/2021.") == 1.0
    assert right(date, "Answer: 2021-04-23") == 1.0
    assert right(date, "Answer: 2021年4月23日") == 1.0
    assert right(date, "First 04/23/2021, no: 04/24/2021") == 0.0
    assert right(date, "13/45/2021") == right(date, "soon") == 0.0
    span = Record(
        id="s", messages=(), answer="('3 weeks', '4 days')", extra={"output_type": "date"}
    )
    assert right(span, "Answer: 3 weeks and 4 days") == 1.0
    assert right(span, "25 days") == 1.0
    assert right(span, "3 weeks and 5 days") == right(span, "3 weeks") == 0.0
