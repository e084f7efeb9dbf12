"""Demonstrations, documents and pairs from the ICD-10 list: right, sealed off from held-out codes, balanced."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import simple_icd_10_cm as icd

from medray.config.data import DataConfig
from medray.data.loading.load import Dataset, load_dataset
from medray.data.loading.stages import Stage
from medray.data.schemas.icd10_codes import code_table
from medray.types import Record

STAGES: dict[str, Stage] = {
    "icd10-sft": "sft",
    "icd10-text": "pt",
    "icd10-preference": "preference",
    "icd10-steps": "process",
}


def load(kind: str, **settings: object) -> Dataset:
    return load_dataset(
        DataConfig.model_validate({"kind": kind, **settings}), stage=STAGES.get(kind)
    )


@pytest.fixture(scope="module")
def loaded() -> dict[str, Dataset]:
    return {kind: load(kind) for kind in STAGES}


def said(record: Record) -> str:
    return record.messages[-1]["content"]


def all_text(record: Record) -> str:
    return "\n".join([record.text, *(message["content"] for message in record.turns)])


@pytest.mark.parametrize("kind", STAGES)
def test_sizes_ids_and_sides(loaded: dict[str, Dataset], kind: str) -> None:
    dataset = loaded[kind]
    items = load("icd10")
    assert (len(dataset.train), len(dataset.held_out)) == (4096, 128)
    assert dataset.train[0].id.startswith(f"{kind}/")
    assert [r.group_id for r in dataset.train] == [r.group_id for r in items.train]
    assert [r.group_id for r in dataset.held_out] == [r.group_id for r in items.held_out]
    assert dataset.report.digests == items.report.digests


@pytest.mark.parametrize("kind", STAGES)
def test_training_records_never_tell_what_is_held_out(
    loaded: dict[str, Dataset], kind: str
) -> None:
    held_out = {r.group_id for r in load("icd10", num_eval=3000, num_train=1).held_out}
    hidden = {icd.get_description(code).casefold() for code in held_out}
    for record in loaded[kind].train:
        for line in all_text(record).split("\n"):
            pieces = {line, line.partition(": ")[2].rstrip("."), line.partition(". ")[2]}
            pieces |= {piece.rpartition(" (")[0] for piece in line.split(", within ")}
            pieces |= set(line.removeprefix("Also recorded as: ").rstrip(".").split("; "))
            assert not {piece.casefold() for piece in pieces} & hidden, record.id


@pytest.mark.parametrize("kind", STAGES)
def test_a_record_does_not_depend_on_how_many_are_asked_for(
    loaded: dict[str, Dataset], kind: str
) -> None:
    small = load(kind, num_train=40, num_eval=8)
    assert small.train == loaded[kind].train[:40]
    assert small.held_out == loaded[kind].held_out[:8]
    assert load(kind, num_train=40, num_eval=8, seed=18).train != small.train


def test_demonstrations_answer_what_they_ask(loaded: dict[str, Dataset]) -> None:
    items = {r.group_id: r for r in load("icd10").train}
    for record in loaded["icd10-sft"].train[:1500]:
        code, item = record.group_id, items[record.group_id]
        meaning = icd.get_description(code)
        match record.extra["form"]:
            case "letter":
                assert record.messages[0] == item.messages[0]
                assert said(record) == item.answer
            case "explained":
                first, explanation = said(record).split("\n")
                assert first == f"{item.answer}. {meaning}"
                assert explanation.startswith(f"{code} belongs to ")
            case "meaning":
                assert record.messages[0]["content"] == f"What does the ICD-10-CM code {code} mean?"
                assert said(record) == record.answer == meaning
            case _:
                chapter = icd.get_ancestors(code)[-1]
                assert meaning in record.messages[0]["content"]
                assert f"chapter {chapter}, " in said(record)
        assert record.options == (item.options if record.task == "choice" else ())


def test_half_of_the_demonstrations_are_letters(loaded: dict[str, Dataset]) -> None:
    forms = Counter(r.extra["form"] for r in loaded["icd10-sft"].train)
    assert 1900 < forms["letter"] < 2200
    assert 900 < forms["explained"] < 1150
    assert min(forms["meaning"], forms["place"]) > 430


def test_documents_place_the_code(loaded: dict[str, Dataset]) -> None:
    for record in loaded["icd10-text"].train[:500]:
        first, *lines = record.text.split("\n")
        assert first == f"ICD-10-CM code {record.group_id}: {icd.get_description(record.group_id)}."
        chapter = icd.get_ancestors(record.group_id)[-1]
        assert any(line.startswith(f"Chapter {chapter}: ") for line in lines)
        assert record.messages == ()


def test_documents_tell_other_names(loaded: dict[str, Dataset]) -> None:
    named = [r for r in loaded["icd10-text"].train if "Also recorded as: " in r.text]
    assert len(named) > 200
    for record in named[:50]:
        terms = record.text.rpartition("Also recorded as: ")[2].rstrip(".").split("; ")
        assert set(terms) <= {
            part
            for term in (
                *icd.get_inclusion_term(record.group_id),
                *icd.get_includes(record.group_id),
            )
            for part in term.rstrip(".").split("; ")
        }


def test_pairs_prefer_the_right_option_and_the_right_form(loaded: dict[str, Dataset]) -> None:
    for record in loaded["icd10-preference"].train[:1500]:
        [chosen], [rejected] = record.chosen, record.rejected
        good, bad = chosen["content"], rejected["content"]
        meaning = icd.get_description(record.group_id)
        match record.extra["pair"]:
            case "letter":
                assert good == record.answer
                assert bad != good
                assert bad in "ABCD"
            case "option":
                assert good.startswith(f"{record.answer}. {meaning}\n")
                assert not bad.startswith(record.answer)
                assert good.split("\n")[1] == bad.split("\n")[1]
            case "rambling":
                assert good == record.answer
                assert meaning in bad
                assert len(bad) > 40
            case _:
                assert good.startswith(f"{record.answer}. {meaning}\n")
                assert bad == record.answer


def test_length_alone_tells_nothing(loaded: dict[str, Dataset]) -> None:
    longer = Counter(
        (len(r.chosen[0]["content"]) > len(r.rejected[0]["content"]))
        - (len(r.chosen[0]["content"]) < len(r.rejected[0]["content"]))
        for r in loaded["icd10-preference"].train
    )
    assert abs(longer[1] - longer[-1]) < 0.08 * 4096


def test_steps_are_right_up_to_the_first_error(loaded: dict[str, Dataset]) -> None:
    """A right step names what the code belongs to, a wrong one never does."""
    errors = Counter[bool]()
    for record in loaded["icd10-steps"].train[:1500]:
        code, first_error = record.group_id, int(str(record.extra["first_error"]))
        belongs = {icd.get_description(name) for name in (code, *icd.get_ancestors(code))}
        for i, step in enumerate(record.steps):
            is_right = any(f": {_bare(meaning)}." in step["content"] for meaning in belongs)
            assert step.get("label") == float(is_right), record.id
            assert is_right == (first_error < 0 or i < first_error)
        assert record.steps[-1]["content"].startswith("It belongs to chapter ")
        errors[first_error != -1] += 1
    assert 650 < errors[True] < 850


def _bare(meaning: str) -> str:
    """Without the codes in brackets behind the name of a block."""
    return re.sub(r"\s*\([A-Z]\w\w(-[A-Z]\w\w)?\)$", "", meaning)


def test_pairs_are_also_unpaired_preferences_and_demonstrations() -> None:
    config = DataConfig(kind="icd10-preference", num_train=20, num_eval=4)
    for stage in ("kto", "sft", "rl"):
        assert len(load_dataset(config, stage=stage).train) == 20


def test_every_code_can_be_placed() -> None:
    dataset = load("icd10-text", num_train=len(code_table()[0]) // 4, num_eval=0)
    assert all("\nChapter " in record.text for record in dataset.train)
