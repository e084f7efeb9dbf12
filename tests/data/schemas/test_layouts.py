"""Layouts that public datasets have: each row becomes the record that a person would make of it, or is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from medray.config.data import DataConfig
from medray.data.detection import detect
from medray.data.loading.load import load_dataset
from medray.data.loading.mixture import open_source
from medray.data.loading.raw_rows import open_raw_rows
from medray.data.parsing.turns import chat
from medray.data.source import BadRow, Row
from medray.types import Message

from ..helpers import write_jsonl

Q, GOOD, BAD = "I have a cold.", "Rest and drink.", "No idea."
VITAMINS = ("Vitamin A", "Vitamin C")
STEM = "Which vitamin prevents scurvy?"
LETTER = "Answer with the letter of the right option only."


def u(text: str = Q) -> dict[str, Any]:
    return {"role": "user", "content": text}


def a(text: str = GOOD) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@dataclass(frozen=True)
class Layout:
    """`row` is read by `kind` as these parts of a record."""

    name: str
    kind: str
    row: dict[str, Any]
    messages: tuple[Message, ...] = ()
    chosen: str = ""
    rejected: str = ""
    answer: str = ""
    margin: float = 0.0
    options: tuple[str, ...] = field(default=())


def answered(
    name: str, row: dict[str, Any], kind: str = "prompt-completion", **more: Any
) -> Layout:
    return Layout(name, kind, row, chat(user=Q, assistant=GOOD), **more)


def pair(name: str, row: dict[str, Any], kind: str = "ranked", **more: Any) -> Layout:
    more.setdefault("messages", chat(user=Q))
    return Layout(name, kind, row, chosen=GOOD, rejected=BAD, **more)


def exam(name: str, row: dict[str, Any]) -> Layout:
    prompt = f"{STEM}\nA. Vitamin A\nB. Vitamin C\n{LETTER}"
    return Layout(name, "choice", row, chat(user=prompt), answer="B", options=VITAMINS)


THOUGHT = chat(user=Q, assistant=f"<think>\nIt is viral.\n</think>\n\n{GOOD}")
LAYOUTS = [
    answered("Prompt/Completion", {"Prompt": Q, "Completion": GOOD}),
    answered("prompt/response", {"prompt": Q, "response": GOOD}),
    answered("query/response", {"query": Q, "response": GOOD}),
    answered("input/output", {"input": Q, "output": GOOD}),
    answered("question/response", {"question": Q, "response": GOOD}),
    answered("INSTRUCTION/RESPONSE", {"INSTRUCTION": Q, "RESPONSE": GOOD}),
    answered("TRL prompt-completion, text", {"prompt": Q, "completion": GOOD}),
    answered("TRL prompt-completion, chat", {"prompt": [u()], "completion": [a()]}),
    Layout("TRL prompt-only, text", "prompt-only", {"prompt": Q}, chat(user=Q)),
    Layout("TRL prompt-only, chat", "prompt-only", {"prompt": [u()]}, chat(user=Q)),
    Layout("prompt with its truth", "prompt-only", {"prompt": Q, "ground_truth": "B"}, chat(user=Q), answer="B"),
    Layout("Question/Answer", "qa", {"Question": Q, "Answer": GOOD}, chat(user=Q), answer=GOOD),
    Layout("context, question, answer", "qa", {"context": "It rains.", "question": Q, "answer": GOOD},
           chat(user=f"It rains.\n\n{Q}"), answer=GOOD),
    Layout("Dolly", "prompt-completion", {"instruction": Q, "context": "It rains.", "response": GOOD, "category": "x"},
           chat(user=f"It rains.\n\n{Q}", assistant=GOOD)),
    Layout("Instruction, Input, Output", "prompt-completion", {"Instruction": "Advise.", "Input": Q, "Output": GOOD},
           chat(user=f"Advise.\n{Q}", assistant=GOOD)),
    Layout("unlabelled PubMedQA", "qa",
           {"pubid": 7, "question": Q, "context": {"contexts": ["We rested.", "All."], "labels": ["X", "Y"]},
            "long_answer": GOOD}, chat(user=f"We rested.\nAll.\n\n{Q}"), answer=GOOD),
    Layout("R1 distilled, Chinese 110k", "prompt-completion",
           {"input": Q, "reasoning_content": "It is viral.", "content": GOOD, "repo_name": "r", "score": 9}, THOUGHT),
    Layout("R1 distilled, medical", "prompt-completion",
           {"question": Q, "reasoning (reasoning_content)": "It is viral.", "response (content)": GOOD}, THOUGHT),
    Layout("R1 distilled, thinking", "prompt-completion", {"prompt": Q, "thinking": "It is viral.", "answer": GOOD},
           THOUGHT),
    Layout("OpenR1", "prompt-completion", {"problem": Q, "solution": GOOD, "answer": "rest", "problem_type": "x"},
           chat(user=Q, assistant=GOOD), answer="rest"),
    answered("conversation of pairs", {"conversation": [{"human": Q, "assistant": GOOD}]}, "dialogue"),
    answered("conversation of turns", {"conversation": [u(), a()]}, "dialogue"),
    answered("speaker and text", {"turns": [{"speaker": "Patient", "text": Q}, {"speaker": "Doctor", "text": GOOD}]},
             "dialogue"),
    Layout("XTuner", "dialogue", {"conversation": [{"system": "S", "input": Q, "output": GOOD}]},
           chat(system="S", user=Q, assistant=GOOD)),
    answered("MedDialog", {"description": "d", "utterances": [f"patient: {Q}", f"doctor: {GOOD}"]}, "dialogue"),
    answered("dialogue in one text", {"dialogue": f"Patient: {Q}\nDoctor: {GOOD}"}, "dialogue"),
    answered("chat as JSON text", {"conversations": f'[{{"from": "human", "value": "{Q}"}}, '
                                                    f'{{"from": "gpt", "value": "{GOOD}"}}]'}, "sharegpt"),
    answered("chat as Python text", {"messages": f"[{{'role': 'user', 'content': '{Q}'}}, "
                                                 f"{{'role': 'assistant', 'content': '{GOOD}'}}]"}, "openai"),
    Layout("messages with the truth", "openai", {"messages": [u()], "ground_truth": "B"}, chat(user=Q), answer="B"),
    answered("tool calls that are none", {"messages": [u(), {**a(), "tool_calls": "[]"}]}, "openai"),
    Layout("empty system turn", "openai", {"messages": [{"role": "system", "content": ""}, u(), a()]},
           ({"role": "system", "content": ""}, *chat(user=Q, assistant=GOOD))),
    answered("Guanaco", {"text": f"### Human: {Q}### Assistant: {GOOD}"}, "transcript"),
    answered("ChatML text", {"text": f"<|im_start|>user\n{Q}<|im_end|>\n<|im_start|>assistant\n{GOOD}<|im_end|>\n"},
             "transcript"),
    Layout("Llama 2 text", "transcript", {"text": f"<s>[INST] <<SYS>>\nS\n<</SYS>>\n\n{Q} [/INST] {GOOD} </s>"},
           chat(system="S", user=Q, assistant=GOOD)),
    Layout("dialogue inside a prompt", "prompt-completion",
           {"prompt": f"\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: {Q}\n\nAssistant:", "response": GOOD},
           chat(("Hi", "Hello"), user=Q, assistant=GOOD)),
    pair("hh-rlhf", {"chosen": f"\n\nHuman: {Q}\n\nAssistant: {GOOD}",
                     "rejected": f"\n\nHuman: {Q}\n\nAssistant: {BAD}"}, "pair"),
    pair("system/question/chosen/rejected", {"system": "S", "question": Q, "chosen": GOOD, "rejected": BAD}, "pair",
         messages=chat(system="S", user=Q)),
    pair("LLaMA-Factory alpaca DPO", {"instruction": "Advise.", "input": Q, "chosen": GOOD, "rejected": BAD}, "pair",
         messages=chat(user=f"Advise.\n{Q}")),
    pair("LLaMA-Factory ShareGPT DPO", {"conversations": [{"from": "human", "value": Q}],
                                        "chosen": {"from": "gpt", "value": GOOD},
                                        "rejected": {"from": "gpt", "value": BAD}}, "preference"),
    pair("messages, chosen, rejected", {"messages": [u()], "chosen": a(), "rejected": a(BAD)}, "pair"),
    pair("messages, rejected_response", {"messages": [u(), a()], "rejected_response": BAD}, "pair"),
    pair("UltraFeedback, binarized", {"prompt": Q, "chosen": [u(), a()], "rejected": [u(), a(BAD)],
                                      "messages": [u(), a()], "score_chosen": 8.0, "score_rejected": 3}, "pair",
         margin=5.0),
    pair("UltraFeedback", {"instruction": Q, "models": ["x", "y"], "completions": [
        {"response": BAD, "overall_score": 2.0}, {"response": GOOD, "overall_score": 8.5}]}, margin=6.5),
    pair("Nectar", {"prompt": f"\n\nHuman: {Q}\n\nAssistant: ", "turns": 1, "num_responses": 3, "answers": [
        {"answer": BAD, "rank": 7.0}, {"answer": "x", "rank": 3.0}, {"answer": GOOD, "rank": 1.0}]}, margin=6.0),
    pair("HelpSteer2", {"prompt": Q, "response_1": BAD, "response_2": GOOD, "preference_strength": 2}, margin=2.0),
    pair("HelpSteer3", {"context": [u()], "response1": GOOD, "response2": BAD, "overall_preference": -3}, margin=3.0),
    pair("arena", {"model_a": "x", "model_b": "y", "winner": "model_b", "conversation_a": [u(), a(BAD)],
                   "conversation_b": [u(), a()]}),
    pair("arena, one column an outcome", {"prompt": Q, "response_a": GOOD, "response_b": BAD, "winner_model_a": 1,
                                          "winner_model_b": 0, "winner_tie": 0}),
    pair("arena, by the model's name", {"prompt": Q, "model_a": "gpt", "model_b": "glm", "winner": "glm",
                                        "response_a": BAD, "response_b": GOOD}),
    pair("PKU-SafeRLHF", {"prompt": Q, "response_0": BAD, "response_1": GOOD, "better_response_id": 1}),
    pair("SHP", {"history": Q, "human_ref_A": GOOD, "human_ref_B": BAD, "labels": 1, "score_A": 9, "score_B": 2},
         margin=7.0),
    pair("WebGPT", {"question": {"full_text": Q}, "answer_0": GOOD, "answer_1": BAD, "score_0": 1.0, "score_1": -1.0},
         margin=2.0),
    pair("responses and scores", {"prompt": Q, "responses": [BAD, GOOD], "scores": [0.1, 0.6]}, margin=0.5),
    Layout("LLaMA-Factory alpaca KTO", "kto", {"instruction": Q, "input": "", "output": BAD, "kto_tag": False},
           chat(user=Q), rejected=BAD),
    Layout("labelled messages", "kto", {"messages": [u(), a()], "label": True}, chat(user=Q), chosen=GOOD),
    exam("lettered columns", {"question": STEM, "A": VITAMINS[0], "B": VITAMINS[1], "answer": "B"}),
    exam("option columns", {"question": STEM, "option_a": VITAMINS[0], "option_b": VITAMINS[1], "correct_option": "b"}),
    exam("numbered columns", {"question": STEM, "choice1": VITAMINS[0], "choice2": VITAMINS[1], "answer": "2"}),
    exam("HEAD-QA", {"qid": 1, "qtext": STEM, "ra": 2, "answers": [{"aid": 1, "atext": VITAMINS[0]},
                                                                 {"aid": 2, "atext": VITAMINS[1]}]}),
    exam("nested data", {"id": "x", "subject_name": "s", "data": {
        "Question": STEM, "Options": {"A": VITAMINS[0], "B": VITAMINS[1]}, "Correct Answer": VITAMINS[1],
        "Correct Option": "B"}}),
    exam("ARC", {"question": STEM, "choices": {"text": list(VITAMINS), "label": ["A", "B"]}, "answerKey": "B"}),
    exam("options with letters", {"question": STEM, "options": ["A. Vitamin A", "B. Vitamin C"],
                                  "answer": "B. Vitamin C"}),
    exam("options in one text", {"question": STEM, "choices": "A. Vitamin A\nB. Vitamin C", "answer": "B"}),
]  # fmt: skip


def rows_of(tmp_path: Path, *rows: Any, **settings: Any) -> list[Row | BadRow]:
    path = write_jsonl(tmp_path / "rows.jsonl", *rows)
    return list(open_source(DataConfig(path=str(path), **settings)).rows)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_layout_is_read(tmp_path: Path, layout: Layout) -> None:
    [row] = rows_of(tmp_path, layout.row)
    assert isinstance(row, Row), row
    record = row.record
    assert record.messages == layout.messages
    assert record.chosen == chat(assistant=layout.chosen)
    assert record.rejected == chat(assistant=layout.rejected)
    assert record.answer == layout.answer
    assert record.margin == pytest.approx(layout.margin)
    assert record.options == layout.options
    assert record.group_id
    [feed] = open_raw_rows(DataConfig(path=str(tmp_path / "rows.jsonl")))
    assert detect(feed).name == layout.kind


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_case_and_joiners_of_names_do_not_matter(tmp_path: Path, layout: Layout) -> None:
    """The same layout in capitals is the same record, except where the schema is that of one dataset."""
    shouted = {name.upper(): value for name, value in layout.row.items()}
    one, other = (rows_of(tmp_path, row)[0] for row in (layout.row, shouted))
    assert isinstance(one, Row)
    if isinstance(other, BadRow):
        pytest.fail(str(other))
    for part in ("messages", "chosen", "rejected", "answer", "options", "margin"):
        assert getattr(other.record, part) == getattr(one.record, part)


REFUSED = [
    ("pictures", {"messages": [u(), a()], "images": ["x.png"]}, "openai does not read 'images'"),
    ("a picture beside a question", {"question": Q, "answer": GOOD, "image": "x.png"}, "qa does not read 'image'"),
    ("a picture in a turn", {"messages": [{**u(), "images": ["x.png"]}, a()]}, "'messages[0].images' is images"),
    ("functions", {"messages": [u(), a()], "functions": [{"name": "f"}]}, "openai does not read 'functions'"),
    ("a class", {"messages": [u(), a()], "label": "cardiology"}, "openai does not read 'label'"),
    ("a class of text", {"text": "Fever.", "label": 2}, "text does not read 'label'"),
    ("a label of 0 and 1 that may be anything", {"question": Q, "answer": GOOD, "label": 1}, "data.kind=kto reads it"),
    ("a document beside a chat", {"messages": [u(), a()], "context": "It rains."}, "openai does not read 'context'"),
    ("a thought beside a chat", {"messages": [u(), a()], "reasoning": "Hm."}, "openai does not read 'reasoning'"),
    ("two questions", {"question": Q, "query": "x", "response": GOOD},
     "'question' and 'query' could both be what is asked"),
    ("two answers", {"question": Q, "response": GOOD, "output": BAD},
     "'response' and 'output' could both be an answer"),
    ("a prompt of another row", {"prompt": "My leg?", "chosen": [u(), a()], "rejected": [u(), a(BAD)]},
     "the prompt is not part of the dialogue"),
    ("a question that is not in the chat", {"prompt": "My leg?", "messages": [u(), a()]}, "'prompt' is not among"),
    ("an undesirable answer without its label's name", {"instruction": Q, "output": BAD, "label": 0},
     "alpaca does not read 'label'"),
    ("step labels", {"prompt": Q, "responses": ["x", "y"], "labels": [True, False]}, "rename it to 'steps'"),
    ("answers without a ranking", {"prompt": Q, "responses": [GOOD, BAD]}, "no field says which answer is better"),
    ("an unknown winner", {"prompt": Q, "response_a": GOOD, "response_b": BAD, "winner": "?"}, "names none of"),
    ("two right options", {"question": STEM, "options": list(VITAMINS), "correct_answer": "A", "gold": "B"},
     "name different options"),
    ("an exam without answers", {"question": STEM, "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": -1},
     "as in test sets without answers"),
    ("several answers in a list", {"instruction": Q, "output": [GOOD, BAD]}, "'output' is a list"),
    ("a margin that is no number", {"prompt": Q, "chosen": GOOD, "rejected": BAD, "margin": "NaN"}, "finite number"),
    ("a score that is no number", {"prompt": Q, "responses": [GOOD, BAD], "scores": [1.0, float("nan")]},
     "finite number"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "message"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_a_field_that_changes_the_meaning_is_never_ignored(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    [bad] = rows_of(tmp_path, row)
    assert isinstance(bad, BadRow), bad
    assert message in bad.detail


def test_a_refused_field_can_be_left_out(tmp_path: Path) -> None:
    [row] = rows_of(tmp_path, {"messages": [u(), a()], "images": ["x"]}, columns={"images": None})
    assert isinstance(row, Row)
    assert row.record.messages == chat(user=Q, assistant=GOOD)


def test_columns_of_any_name_are_read(tmp_path: Path) -> None:
    row = {"frage": Q, "daten": {"antwort": [{"text": GOOD}]}, "label": 3}
    columns = {"question": "frage", "response": "daten.antwort.0.text", "label": None}
    [read] = rows_of(tmp_path, row, columns=columns)
    assert isinstance(read, Row)
    assert read.record.messages == chat(user=Q, assistant=GOOD)


def test_columns_work_with_a_named_kind(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": Q}, {"from": "gpt", "value": GOOD}]
    [read] = rows_of(
        tmp_path, {"verlauf": turns}, kind="sharegpt", columns={"conversations": "verlauf"}
    )
    assert isinstance(read, Row)
    assert read.record.messages == chat(user=Q, assistant=GOOD)


def test_ties_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}?", "responses": ["x", "y"], "scores": [1, i % 2]} for i in range(6)]
    path = write_jsonl(tmp_path / "rows.jsonl", *rows)
    report = load_dataset(DataConfig(path=str(path), num_eval=0), stage="preference").report
    assert (report.num_read, report.num_train, report.dropped["tie"].count) == (6, 3, 3)
