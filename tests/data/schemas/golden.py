"""One made-up row of every schema, and the record it becomes (without its group and place)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from medray.data.parsing.turns import chat
from medray.types import Record


@dataclass(frozen=True)
class Golden:
    """`row` read as `kind` is `record`, whose id, source and group the test fills in where they are ""."""

    kind: str
    row: dict[str, Any]
    record: Record


LETTER = "Answer with the letter of the right option only."
TOOLS = [{"name": "bmi", "parameters": {"type": "object"}}]
CALL = {"name": "bmi", "arguments": {"kg": 70, "m": 1.75}}
PAIR = {"chosen": chat(assistant="Rest and drink."), "rejected": chat(assistant="No idea.")}
RUBRIC = [{"criterion": "Asks for the dose", "points": 5.0, "tags": ["Essential"]}]
STEM = {"question": "Which vitamin prevents scurvy?"}
OPTIONS = ("Vitamin A", "Vitamin C", "Vitamin D", "Vitamin K")
BY_LETTER = dict(zip("ABCD", OPTIONS, strict=True))


def answered(question: str, said: str, **fields: Any) -> Record:
    return Record("", chat(user=question, assistant=said), **{"task": "chat", **fields})


def exam(**fields: Any) -> Record:
    prompt = "\n".join([STEM["question"], *(f"{k}. {v}" for k, v in BY_LETTER.items()), LETTER])
    return Record("", chat(user=prompt), answer="B", options=OPTIONS, task="choice", **fields)


def solution(question: str, right: str, wrong: str, **fields: Any) -> Record:
    steps = ({"content": right, "label": 1.0}, {"content": wrong, "label": 0.0})
    return Record("", chat(user=question), task="process", steps=steps, **fields)


def zh_exam(answer: str, instruction: str, **fields: Any) -> Record:
    lines = ["下列属于维生素的是", "A. 抗坏血酸", "B. 葡萄糖", "C. 叶酸", instruction]
    return Record(
        "",
        chat(user="\n".join(lines)),
        answer=answer,
        options=("抗坏血酸", "葡萄糖", "叶酸"),
        task="choice",
        lang="zh",
        licence="Apache-2.0",
        **fields,
    )


ZH_OPTIONS = {"A": "抗坏血酸", "B": "葡萄糖", "C": "叶酸"}
ONE, SEVERAL = "只回答正确选项的字母。", "本题有多个正确选项，只回答所有正确选项的字母。"

GOLDEN = [
    Golden("steps",
           {"question": "A child has scurvy. Which vitamin is low?", "answer": "C", "steps": [
               {"text": "Scurvy is a lack of one vitamin.", "rating": 1},
               {"text": "So it is vitamin A.", "rating": -1}]},
           solution("A child has scurvy. Which vitamin is low?", "Scurvy is a lack of one vitamin.",
                    "So it is vitamin A.", answer="C")),
    Golden("prm800k",
           {"question": {"problem": "How many are 2 + 2?", "ground_truth_answer": "4"}, "labeler": "x", "label": {
               "finish_reason": "found_error", "total_time": 9, "steps": [
                   {"completions": [{"text": "Two and two make four.", "rating": 1, "flagged": None}],
                    "human_completion": None, "chosen_completion": 0},
                   {"completions": [{"text": "So it is 5.", "rating": -1, "flagged": False}],
                    "human_completion": None, "chosen_completion": 0}]}},
           solution("How many are 2 + 2?", "Two and two make four.", "So it is 5.", answer="4")),
    Golden("math-shepherd",
           {"input": "How many are 2 + 2? Step 1: I add them. ки\nStep 2: The answer is: 5 ки",
            "label": "How many are 2 + 2? Step 1: I add them. +\nStep 2: The answer is: 5 -", "task": "GSM8K"},
           solution("How many are 2 + 2?", "Step 1: I add them.", "Step 2: The answer is: 5")),
    Golden("text", {"text": "Fever is a sign.\n\nIt has many causes."},
           Record("", (), text="Fever is a sign.\n\nIt has many causes.", task="text")),
    Golden("sharegpt",
           {"system_prompt": "Be brief.", "tools": '[{"name": "bmi", "parameters": {"type": "object"}}]',
            "conversations": [
                {"from": "human", "value": "My BMI?"},
                {"from": "function_call", "value": '{"name": "bmi", "arguments": {"kg": 70, "m": 1.75}}'},
                {"from": "observation", "value": "22.9"}, {"from": "gpt", "value": "It is 22.9."}]},
           Record("", (*chat(system="Be brief.", user="My BMI?"),
                       {"role": "assistant", "content": "", "tool_calls": (CALL,)},
                       {"role": "tool", "content": "22.9"}, *chat(assistant="It is 22.9.")),
                  tools=tuple(TOOLS), task="chat")),
    Golden("openai",
           {"messages": [{"role": "user", "content": "发烧怎么办？"}, {"role": "assistant", "content": "多喝水。"}]},
           answered("发烧怎么办？", "多喝水。", lang="zh")),
    Golden("alpaca",
           {"instruction": "Name the organ.", "input": "It pumps blood.", "output": "The heart.",
            "history": [["Hello", "Hello, how can I help?"]]},
           Record("", chat(("Hello", "Hello, how can I help?"), user="Name the organ.\nIt pumps blood.",
                           assistant="The heart."), task="chat")),
    Golden("preference",
           {"conversations": [{"from": "system", "value": "S"}, {"from": "human", "value": "I have a cold."}],
            "chosen": "Rest and drink.", "rejected": "No idea."},
           Record("", chat(system="S", user="I have a cold."), **PAIR, task="preference")),
    Golden("response-pair",
           {"question": "I have a cold.", "response_chosen": "Rest and drink.", "response_rejected": "No idea.",
            "score_chosen": 4, "score_rejected": 1.5},
           Record("", chat(user="I have a cold."), **PAIR, task="preference", margin=2.5)),
    Golden("preference-messages",
           {"prompt_id": "p1", "prompt": "I have a cold.", "label_type": "x",
            "chosen": [{"role": "user", "content": "I have a cold."},
                       {"role": "assistant", "content": "Rest and drink."}],
            "rejected": [{"role": "user", "content": "I have a cold."}, {"role": "assistant", "content": "No idea."}]},
           Record("", chat(user="I have a cold."), **PAIR, task="preference")),
    Golden("kto", {"prompt": "I have a cold.", "completion": "No idea.", "label": False},
           Record("", chat(user="I have a cold."), rejected=PAIR["rejected"], task="preference")),
    Golden("ultramedical",
           {"id": "MadeUp,1", "type": "Exam", "answer": "B", "score": "hard",
            "conversations": [
                {"from": "human", "value": "Scurvy is a lack of?\n\nA. Vitamin A\nB. Vitamin C"},
                {"from": "gpt", "value": "So, the answer is B."}]},
           answered("Scurvy is a lack of?\n\nA. Vitamin A\nB. Vitamin C", "So, the answer is B.",
                    task="choice", answer="B", options=("Vitamin A", "Vitamin C"), source="UltraMedical/Exam",
                    licence="MIT", extra={"origin": "MadeUp,1"})),
    Golden("medquad",
           {"id": "1-1", "source": "MadeUp", "url": "http://example.org", "focus": "Scurvy", "qtype": "treatment",
            "question": "How is scurvy treated?", "answer": "With vitamin C."},
           answered("How is scurvy treated?", "With vitamin C.", task="qa", answer="With vitamin C.",
                    source="MedQuAD/MadeUp", licence="CC BY 4.0",
                    extra={"qtype": "treatment", "url": "http://example.org"})),
    Golden("huatuo-o1-sft",
           {"Question": "Why does it itch?", "Complex_CoT": "Histamine.", "Response": "Because of histamine."},
           answered("Why does it itch?", "<think>\nHistamine.\n</think>\n\nBecause of histamine.",
                    licence="Apache-2.0")),
    Golden("huatuo-o1-verifiable",
           {"Open-ended Verifiable Question": "Which vitamin?", "Ground-True Answer": "Vitamin C"},
           Record("", chat(user="Which vitamin?"), answer="Vitamin C", task="verifiable", licence="Apache-2.0")),
    Golden("huatuogpt", {"data": ["问：头痛怎么办？", "答：请休息。", "问: 谢谢", "答：不客气。"]},
           Record("", chat(("头痛怎么办？", "请休息。"), user="谢谢", assistant="不客气。"), task="chat", lang="zh",
                  licence="Apache-2.0")),
    Golden("huatuo-26m", {"questions": [["感冒吃什么？", "感冒的食物？"]], "answers": ["清淡饮食。"]},
           answered("感冒吃什么？", "清淡饮食。", lang="zh", answer="清淡饮食。",
                    extra={"other_questions": ["感冒的食物？"], "other_answers": []})),
    Golden("rar",
           {"question": "How much?", "reference_answer": "Ask first.", "question_source": "made-up", "rubric_count": 1,
            "rubric": [{"title": "Essential", "description": "Asks for the dose", "weight": 5}]},
           Record("", chat(user="How much?"), answer="Ask first.", task="rubric", source="RaR/made-up",
                  extra={"rubric": RUBRIC})),
    Golden("healthbench",
           {"prompt_id": "h1", "prompt": [{"role": "user", "content": "How much?"}], "example_tags": ["theme:x"],
            "rubrics": [{"criterion": "Asks for the dose", "points": 5, "tags": ["Essential"]}], "canary": "c"},
           Record("h1", chat(user="How much?"), task="rubric", source="HealthBench", licence="MIT",
                  extra={"rubric": RUBRIC, "tags": ["theme:x"], "evaluation_only": True})),
    Golden("medcalc",
           {"Row Number": 1, "Calculator ID": 6, "Calculator Name": "BMI", "Category": "physical",
            "Output Type": "decimal", "Note ID": "n-1", "Note Type": "made up", "Patient Note": "70 kg, 175 cm.",
            "Question": "What is the BMI?", "Relevant Entities": "{}", "Ground Truth Answer": "22.857",
            "Lower Limit": 21.7, "Upper Limit": 24.0, "Ground Truth Explanation": "70 / 1.75^2"},
           Record("", chat(user="Patient note:\n70 kg, 175 cm.\n\nQuestion: What is the BMI?"), answer="22.857",
                  task="medcalc", source="MedCalc-Bench", licence="CC BY-SA 4.0",
                  extra={"lower_limit": "21.7", "upper_limit": "24.0", "calculator_id": "6", "calculator": "BMI",
                         "category": "physical", "output_type": "decimal", "entities": "{}",
                         "explanation": "70 / 1.75^2"})),
    Golden("verl",
           {"data_source": "madeup", "prompt": [{"role": "user", "content": "胃痛"}], "response": "多久了？",
            "reward_model": {"ground_truth": {"diagnosis": "胃炎", "recommendation": "休息"}},
            "extra_info": {"index": 3}},
           answered("胃痛", "多久了？", task="madeup", lang="zh",
                    answer='{"diagnosis": "胃炎", "recommendation": "休息"}',
                    extra={"ground_truth": {"diagnosis": "胃炎", "recommendation": "休息"},
                           "extra_info": {"index": 3}})),
    Golden("medmcqa", {**STEM, "opa": OPTIONS[0], "opb": OPTIONS[1], "opc": OPTIONS[2], "opd": OPTIONS[3], "cop": 1,
                       "exp": "It makes collagen.", "subject_name": "Nutrition"},
           exam(source="MedMCQA/Nutrition", licence="Apache-2.0", extra={"explanation": "It makes collagen."})),
    Golden("medqa", {**STEM, "options": BY_LETTER, "answer": "Vitamin C", "answer_idx": "B", "meta_info": "step1"},
           exam(source="MedQA", licence="MIT")),
    Golden("medqa-hub", {"id": "x", "sent1": STEM["question"], "sent2": "", "label": 1,
                         **{f"ending{i}": text for i, text in enumerate(OPTIONS)}},
           exam(source="MedQA", licence="MIT")),
    Golden("medxpertqa", {"question": STEM["question"] + "\nAnswer Choices: (A) Vitamin A (B) Vitamin C",
                          "options": BY_LETTER, "label": "B", "medical_task": "Basic"},
           exam(source="MedXpertQA", licence="MIT")),
    Golden("mmlu", {**STEM, "choices": list(OPTIONS), "answer": 1, "subject": "nutrition"},
           exam(source="MMLU/nutrition", licence="MIT")),
    Golden("cmb", {"exam_type": "医师考试", "exam_class": "", "exam_subject": "营养学",
                   "question": "下列属于维生素的是",
                   "answer": "AC", "question_type": "多项选择题", "option": {**ZH_OPTIONS, "D": ""}},
           zh_exam("AC", SEVERAL, source="CMB/营养学")),
    Golden("cmexam", {"Question": "下列属于维生素的是", "Options": "A 抗坏血酸\nB 葡萄糖\nC 叶酸", "Answer": "A",
                      "Explanation": "维生素C。"},
           zh_exam("A", ONE, source="CMExam", extra={"explanation": "维生素C。"})),
    Golden("cmb-clin", {"id": "1", "title": "发热", "description": "男，30岁。",
                        "QA_pairs": [{"question": "诊断？", "solution": "流感。"},
                                     {"question": "治疗？", "solution": "休息。"}]},
           Record("", chat(("男，30岁。\n\n诊断？", "流感。"), user="治疗？", assistant="休息。"), task="chat",
                  lang="zh", source="CMB-Clin", licence="Apache-2.0", extra={"title": "发热"})),
    Golden("medreason", {"dataset_name": "madeup", "id_in_dataset": 1, **STEM, "answer": "Vitamin C.",
                         "reasoning": "Collagen needs it.", "options": "Answer Choices:\nA. Vitamin A\nB. Vitamin C"},
           answered(STEM["question"] + "\nAnswer Choices:\nA. Vitamin A\nB. Vitamin C",
                    "<think>\nCollagen needs it.\n</think>\n\nVitamin C.", answer="Vitamin C.",
                    source="MedReason/madeup")),
    Golden("zh-dialogue", {"department": "消化科", "title": "胃痛怎么办", "ask": "饭后胃痛三天。",
                           "answer": "少吃多餐。"},
           answered("胃痛怎么办\n饭后胃痛三天。", "少吃多餐。", lang="zh", licence="MIT",
                    extra={"department": "消化科"})),
    Golden("pubmedqa-hub", {"pubid": 7, "question": "Does it help?", "context": {"contexts": ["We rested.", "All."]},
                            "long_answer": "It does.", "final_decision": "yes"},
           Record("7", chat(user="Abstract:\nWe rested.\nAll.\n\nQuestion: Does it help?\n\nAnswer yes, no or maybe."),
                  answer="yes", options=("yes", "no", "maybe"), task="pubmedqa", source="PubMedQA PQA-L",
                  licence="MIT")),
    Golden("choice", {**STEM, "options": list(OPTIONS), "answer": "B"}, exam(source="rows.jsonl:1")),
    Golden("message-tree",
           {"message_tree_id": "t", "prompt": {"message_id": "q", "role": "prompter", "text": "I have a cold.",
                                               "replies": [{"role": "assistant", "text": "Rest and drink."}]}},
           replace(answered("I have a cold.", "Rest and drink."), id="rows.jsonl:1#q/0")),
    Golden("ranked", {"prompt": "I have a cold.", "answers": [{"answer": "No idea.", "rank": 2.0, "model": "x"},
                                                               {"answer": "Rest and drink.", "rank": 1.0}]},
           Record("", chat(user="I have a cold."), **PAIR, task="preference", margin=1.0)),
    Golden("pair", {"system": "S", "question": "I have a cold.", "chosen": "Rest and drink.", "rejected": "No idea."},
           Record("", chat(system="S", user="I have a cold."), **PAIR, task="preference")),
    Golden("dialogue", {"dialogue": "Patient: I have a cold.\nDoctor: Rest and drink."},
           answered("I have a cold.", "Rest and drink.")),
    Golden("prompt-completion", {"Query": "I have a cold.", "thinking": "It is viral.", "Response": "Rest and drink."},
           answered("I have a cold.", "<think>\nIt is viral.\n</think>\n\nRest and drink.")),
    Golden("prompt-only", {"prompt": [{"role": "user", "content": "I have a cold."}]},
           Record("", chat(user="I have a cold."), task="chat")),
    Golden("transcript", {"text": "### Human: I have a cold.\n### Assistant: Rest and drink."},
           answered("I have a cold.", "Rest and drink.")),
    Golden("qa", {"问": "发烧的原因？", "答": "感染"},
           Record("", chat(user="发烧的原因？"), answer="感染", task="qa", lang="zh", source="rows.jsonl:1")),
    Golden("medray", {"medray": 1, "id": "m1", "messages": [{"role": "user", "content": "Q"}], "tools": TOOLS,
                      "chosen": [{"role": "assistant", "content": "", "tool_calls": [CALL]}],
                      "rejected": [{"role": "assistant", "content": "no", "trained": False}],
                      "margin": 1.5, "source": "made up", "extra": {"a": [1]}},
           Record("m1", chat(user="Q"), tools=tuple(TOOLS), margin=1.5, source="made up", extra={"a": [1]},
                  chosen=({"role": "assistant", "content": "", "tool_calls": (CALL,)},),
                  rejected=({"role": "assistant", "content": "no", "trained": False},))),
]  # fmt: skip
SHUFFLED = ("Vitamin D", "Vitamin K", "Vitamin A", "Vitamin C")
"""As the seed draws the options of the row called rows.jsonl:1."""
GOLDEN += [
    Golden("choice-shuffled", {**STEM, "options": list(OPTIONS), "answer": "B"},
           Record("", chat(user="\n".join([STEM["question"], *map("{}. {}".format, "ABCD", SHUFFLED), LETTER])),
                  answer="D", options=SHUFFLED, task="choice", source="rows.jsonl:1")),
    Golden("message-tree-pairs",
           {"message_tree_id": "t", "prompt": {
               "message_id": "q", "role": "prompter", "text": "I have a cold.", "replies": [
                   {"role": "assistant", "text": "Rest and drink.", "rank": 0},
                   {"role": "assistant", "text": "No idea.", "rank": 1}]}},
           Record("rows.jsonl:1#q", chat(user="I have a cold."), **PAIR, task="preference")),
]  # fmt: skip
GOLDEN.append(
    Golden(
        "medmcqa-original",
        {
            **next(g for g in GOLDEN if g.kind == "medmcqa").row,
            "cop": 4,
            "opd": "Vitamin C",
            "opb": "B12",
        },
        Record(
            "",
            chat(
                user=f"{STEM['question']}\nA. Vitamin A\nB. B12\nC. Vitamin D\nD. Vitamin C\n{LETTER}"
            ),
            answer="D",
            options=("Vitamin A", "B12", "Vitamin D", "Vitamin C"),
            task="choice",
            source="MedMCQA/Nutrition",
            licence="Apache-2.0",
            extra={"explanation": "It makes collagen."},
        ),
    )
)
