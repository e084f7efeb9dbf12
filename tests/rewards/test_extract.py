"""Answers read out of hand-made responses.

Options: A cholera, B typhoid fever, C malaria, D dengue fever.
"""

import time

import pytest

from medray.rewards.extract import Labels, extract_answer, labels_for, leading_answer

EN = Labels(("A", "B", "C", "D"), ("Cholera", "Typhoid fever", "Malaria", "Dengue fever"))
ZH = Labels(("A", "B", "C", "D", "E"), ("霍乱", "伤寒", "疟疾", "登革热", "流行性感冒"))
YES_NO = Labels(("yes", "no", "maybe"))
SHI_FOU = Labels(("是", "否", "不确定"))

ENGLISH = [
    # bare letters
    ("B", "B"),
    (" B ", "B"),
    ("B.", "B"),
    ("B)", "B"),
    ("(B)", "B"),
    ("[B]", "B"),
    ("**B**", "B"),
    ("`B`", "B"),
    ('"B"', "B"),
    ("b", "B"),
    ("b)", "B"),
    ("b. typhoid fever", "B"),
    ("B\n", "B"),
    ("B\n\nExplanation: A patient with rose spots has it.", "B"),
    ("B. Typhoid fever", "B"),
    ("B: Typhoid fever", "B"),
    ("B) Typhoid fever", "B"),
    ("B Typhoid fever", "B"),
    ("B - Typhoid fever", "B"),
    ("B. Typhoid", "B"),
    ("Ｂ", "B"),
    ("Ｂ．", "B"),
    ("（Ｂ）", "B"),
    ("B, because of the rose spots", "B"),
    ("B because of the rose spots", "B"),
    ("B is correct.", "B"),
    ("B is the most likely diagnosis", "B"),
    # claims
    ("The answer is (C).", "C"),
    ("The answer is C", "C"),
    ("The answer is c.", "C"),
    ("The answer is: C", "C"),
    ("The answer is **C**.", "C"),
    ("**Answer:** C", "C"),
    ("Answer: C. Malaria", "C"),
    ("Answer - C", "C"),
    ("ANSWER: C", "C"),
    ("Final answer: C", "C"),
    ("The correct answer is option C.", "C"),
    ("The correct option is C", "C"),
    ("The best answer to this question is C, malaria.", "C"),
    ("The right choice would be C.", "C"),
    ("Option C is correct.", "C"),
    ("Option C.", "C"),
    ("I would choose C.", "C"),
    ("I think it is C.", "C"),
    ("I'd go with C", "C"),
    ("So the answer must be C.", "C"),
    ("Fever every third day points to the mosquito. Therefore, C.", "C"),
    ("Hence C is the correct answer", "C"),
    ("It's C.", "C"),
    ("The diagnosis fits all criteria.\n\nC", "C"),
    ("Let me think. The stool is not watery.\nAnswer: C", "C"),
    ("The answer is Malaria.", "C"),
    ("The correct answer is most likely malaria because of the fever.", "C"),
    # the last claim wins
    ("The answer is B. Wait, no, the answer is C.", "C"),
    ("I first thought A, but the answer is B.", "B"),
    ("Answer: B\nAnswer: C", "C"),
    ("Is the answer A? No, the answer is D.", "D"),
    ("A. Actually, it is D.", "D"),
    ("The answer is A. Not B.", "A"),
    # rejections
    ("A is wrong, B", "B"),
    ("A is wrong, B is right", "B"),
    ("A is incorrect. B is correct.", "B"),
    ("Not A. B", "B"),
    ("Not A but B", "B"),
    ("It is C, not A.", "C"),
    ("C rather than A", "C"),
    ("The answer is not A, it is D.", "D"),
    ("The answer isn't A. It's D.", "D"),
    ("A, C and D are wrong; B", "B"),
    ("A, C and D are wrong, so the answer is B.", "B"),
    ("We can rule out A and C. D is the best answer.", "D"),
    ("All but A", None),
    ("Neither A nor B. C is right.", "C"),
    ("Let's eliminate A, B and D; the remaining one is C.", "C"),
    ("I'd rule out cholera and malaria; typhoid fever it is.", "B"),
    ("Malaria is wrong. Dengue fever is correct.", "D"),
    ("A? B? I say C.", "C"),
    ("It could be A, B, or C, but most likely C.", "C"),
    ("A can be excluded, B too. So it must be D.", "D"),
    ("I do not think it is A. The answer is B.", "B"),
    ("A: incorrect. B: correct. C: incorrect.", "B"),
    ("The answer cannot be A or B, so it must be C.", "C"),
    ("It is not cholera, it is typhoid fever.", "B"),
    ("The answer is not A.", None),
    ("A is wrong.", None),
    ("Not B", None),
    ("Is it A?", None),
    # several
    ("A and C", "AC"),
    ("A, C", "AC"),
    ("AC", "AC"),
    ("A C D", "ACD"),
    ("A/C", "AC"),
    ("The answers are A, B and D.", "ABD"),
    ("Both A and C are correct.", "AC"),
    ("A. Cholera\nC. Malaria", "AC"),
    ("A\nC", "AC"),
    ("C, A", "AC"),
    ("A or C", None),
    ("The answer is either A or C.", None),
    # marked
    ('{"answer": "B"}', "B"),
    ("answer=B", "B"),
    ("Assistant: B", "B"),
    ("D<|im_end|>", "D"),
    ("The answer is 'C'.", "C"),
    ("<answer>B</answer>", "B"),
    ("<answer> b </answer>", "B"),
    ("<answer>B. Typhoid fever</answer>", "B"),
    ("<answer>Typhoid fever</answer>", "B"),
    ("<answer>DBA</answer>", "ABD"),
    ("<answer>A</answer> no: <answer>B</answer>", "B"),
    ("Answer: A <answer>B</answer>", "B"),
    ("<answer>B", "B"),
    ("<answer>unknown</answer>", None),
    ("<answer></answer>", None),
    (r"The answer is \boxed{B}.", "B"),
    (r"\boxed{\text{B}}", "B"),
    (r"$\boxed{B}$", "B"),
    # thinking
    ("<think>The answer is A.</think>B", "B"),
    ("<think>\nA or B?\n</think>\n\nThe answer is B.", "B"),
    ("<think>The answer is A.</think>", None),
    ("<think>The answer is A.", None),
    ("The answer is A.</think>B", "B"),
    ("<think><answer>A</answer></think>I cannot tell.", None),
    # option text
    ("Typhoid fever", "B"),
    ("typhoid fever.", "B"),
    ("It is typhoid fever.", "B"),
    ("Typhoid fever or malaria", None),
    # an echo of the options is not an answer
    ("A. Cholera\nB. Typhoid fever\nC. Malaria\nD. Dengue fever", None),
    ("A. Cholera\nB. Typhoid fever\nC. Malaria\nD. Dengue fever\nThe answer is C.", "C"),
    ("B. Typhoid fever\n\nA. seen with rice-water stool\nC. cyclic fever\nD. rash", "B"),
    ("Let us see.\nA. rice-water stool\nB. rose spots\nC. cyclic fever", None),
    ("A B C D", "ABCD"),
    # no answer
    ("", None),
    ("   ", None),
    ("...", None),
    ("A patient with fever for ten days needs a blood culture.", None),
    ("A 45-year-old man has fever.", None),
    ("A common cause of fever.", None),
    ("Vitamin A deficiency is common.", None),
    ("Hepatitis B virus is the cause.", None),
    ("The patient has hepatitis B.", None),
    ("The patient has hepatitis B. The answer is D.", "D"),
    ("The answer is B because hepatitis A is excluded.", "B"),
    ("group A strep", None),
    ("A00.1", None),
    ("B20 is HIV", None),
    ("The correct answer is not listed.", None),
    ("It could be A.", None),
    ("B cells make antibodies.", None),
    ("D-dimer was raised.", None),
    ("CAD", None),
    ("I do not know.", None),
    ("The answer is", None),
    ("E", None),
    ("F.", None),
    ("None of the above", None),
    ("Answer with the letter of the right option only.", None),
    ("2", None),
    ("The answer is a combination of factors.", None),
]

CHINESE = [
    ("答案：ABD", "ABD"),
    ("答案:B", "B"),
    ("答案是B", "B"),
    ("答案为B。", "B"),
    ("答案 B", "B"),
    ("正确答案是B和C", "BC"),
    ("正确答案：A、C、E", "ACE"),
    ("正确答案应该是 D。", "D"),
    ("【答案】B", "B"),
    ("故选：D", "D"),
    ("因此选D。", "D"),
    ("选B", "B"),
    ("应选择C", "C"),
    ("本题选C。", "C"),
    ("B选项正确", "B"),
    ("选项B是正确的", "B"),
    ("B正确", "B"),
    ("B", "B"),
    ("B。", "B"),
    ("B、伤寒", "B"),
    ("B．伤寒", "B"),
    ("（B）", "B"),
    ("ＡＢＤ", "ABD"),
    ("A，C", "AC"),
    ("A错误，B正确", "B"),
    ("A不对，应该是B", "B"),
    ("不选A，选B", "B"),
    ("不是A而是C", "C"),
    ("C，而不是A", "C"),
    ("排除A、C，选D", "D"),
    ("A、B、C都不正确，所以选D", "D"),
    ("答案不是A，是B。", "B"),
    ("答案是A吗？不，是B。", "B"),
    ("我认为答案是B，因为有玫瑰疹。", "B"),
    ("患者有玫瑰疹，故为伤寒。", "B"),
    ("伤寒", "B"),
    ("答案是伤寒。", "B"),
    ("<think>答案是A</think>答案是B", "B"),
    ("<think>选A</think>", None),
    ("<answer>伤寒</answer>", "B"),
    ("A项错误，B项正确", "B"),
    ("选D，因为A、B、C均不符合", "D"),
    ("因为A不符合，C不符合，所以选B", "B"),
    ("患者诊断为伤寒，排除疟疾和霍乱。", "B"),
    ("不是伤寒，是疟疾", "C"),
    ("仅B", "B"),
    ("除A外都对", None),
    ("维生素A缺乏", None),
    ("答案：无", None),
    ("A或B", None),
    ("答案是A或者B", None),
    ("A型血的人容易感染。", None),
    ("B超提示肝大。", None),
    ("不选A", None),
    ("我不知道。", None),
    ("A. 霍乱\nB. 伤寒\nC. 疟疾\nD. 登革热\nE. 流行性感冒", None),
]

WORDS = [
    ("yes", "yes"),
    ("Yes", "yes"),
    ("Yes.", "yes"),
    ("No", "no"),
    ("no.", "no"),
    ("Maybe", "maybe"),
    ("Yes, it does.", "yes"),
    ("Yes it does", "yes"),
    ("No, there was no difference.", "no"),
    ("No it does not.", "no"),
    ("**No**", "no"),
    ("Answer: maybe", "maybe"),
    ("The answer is no.", "no"),
    ("The answer to the question is yes", "yes"),
    ("The answer is not yes, it is no.", "no"),
    ("Yes, no doubt about it.", "yes"),
    ("The data are mixed. So maybe.", "maybe"),
    ("<answer>no</answer>", "no"),
    ("<answer>No, it does not</answer>", "no"),
    (r"\boxed{maybe}", "maybe"),
    ("<think>yes</think>no", "no"),
    ("<think>yes", None),
    ("yes or no", None),
    ("Yes/no/maybe", None),
    ("Answer yes, no or maybe.", None),
    ("No statistically significant difference was found.", None),
    ("Yesterday", None),
    ("nothing", None),
    ("The study shows an effect.", None),
]


@pytest.mark.parametrize(("text", "expected"), ENGLISH)
def test_english(text: str, expected: str | None) -> None:
    assert extract_answer(text, EN) == expected


@pytest.mark.parametrize(("text", "expected"), CHINESE)
def test_chinese(text: str, expected: str | None) -> None:
    assert extract_answer(text, ZH) == expected


@pytest.mark.parametrize(("text", "expected"), WORDS)
def test_words(text: str, expected: str | None) -> None:
    assert extract_answer(text, YES_NO) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("是", "是"), ("是。", "是"), ("答案：否", "否"), ("不确定", "不确定"), ("不是", None)],
)
def test_chinese_words(text: str, expected: str | None) -> None:
    assert extract_answer(text, SHI_FOU) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B", "B"),
        ("B. Typhoid", "B"),
        ("(B) because", "B"),
        ("B, C", "BC"),
        ("**B**", "B"),
        ("<think>A</think>\nB", "B"),
        ("A. Cholera\nB. Typhoid fever\nC. Malaria\nD. Dengue fever", "A"),
        ("The answer is B", None),
        ("Answer: B", None),
        ("A is wrong, B", None),
        ("A patient", None),
        ("Typhoid fever", None),
        ("", None),
    ],
)
def test_leading(text: str, expected: str | None) -> None:
    assert leading_answer(text, EN) == expected


def test_labels_for_tells_letters_from_words() -> None:
    assert labels_for(("Cholera", "Malaria"), "B") == Labels(("A", "B"), ("Cholera", "Malaria"))
    assert labels_for(("yes", "no", "maybe"), "no") == YES_NO
    assert labels_for(("Cholera", "Malaria"), "C") is None
    assert labels_for((), "B") is None
    # Options that are single letters themselves: the answer is still the position.
    assert labels_for(("B", "A"), "A") == Labels(("A", "B"), ("B", "A"))


def test_many_options_reach_their_last_letter() -> None:
    labels = Labels(tuple("ABCDEFGHIJ"), tuple(f"text {i}" for i in range(10)))
    assert extract_answer("The answer is J.", labels) == "J"
    assert extract_answer("I think the answer is I.", labels) == "I"
    assert extract_answer("I think it over.", labels) is None


@pytest.mark.parametrize(
    "unit",
    [
        "选项",
        "(",
        "{",
        "A. ",
        "A ",
        "the answer is ",
        "not ",
        "malaria, ",
        "综上所述",
        "\\boxed{",
        "?",
    ],
)
@pytest.mark.parametrize("labels", [EN, YES_NO], ids=["letters", "words"])
def test_a_degenerate_response_is_read_in_reasonable_time(unit: str, labels: Labels) -> None:
    text = unit * (5000 // len(unit)) + "x"
    started = time.perf_counter()
    extract_answer(text, labels)
    assert time.perf_counter() - started < 3  # backtracking would take minutes
