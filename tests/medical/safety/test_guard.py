"""The hook around one answer: what it adds, when, and that pieces give what the whole gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from medray.medical.safety.advice import DISCLAIMER, without_additions
from medray.medical.safety.guard import Guard, Verdict

RED_FLAG = "I have crushing chest pain"
ORDINARY = "How is asthma treated?"


def _answer(verdict: Verdict, text: str, pieces: int = 1) -> str:
    watch = verdict.watch()
    size = max(1, len(text) // pieces)
    for start in range(0, len(text), size):
        watch.feed(text[start : start + size])
    return verdict.prefix + text + watch.suffix()


def test_advice_comes_first_and_disclaimer_last() -> None:
    verdict = Guard().before([RED_FLAG])
    answer = _answer(verdict, "It may be your heart.")
    assert answer.index("emergency number") < answer.index("It may be")
    assert answer.endswith(DISCLAIMER["en"])
    assert not verdict.answer_alone


def test_answers_are_in_the_language_of_the_question() -> None:
    assert "120" in Guard().before(["突然胸痛，大汗"]).prefix
    assert _answer(Guard().before(["感冒了怎么办"]), "多喝水。").endswith(DISCLAIMER["zh"])


def test_self_harm_is_answered_with_people_to_talk_to() -> None:
    prefix = Guard().before(["I want to kill myself"]).prefix
    assert "988" in prefix
    assert "do not drive" not in prefix.lower()
    assert "12356" in Guard().before(["我不想活了"]).prefix


def test_report_and_off_change_nothing() -> None:
    for mode in ("report", "off"):
        verdict = Guard(mode).before([RED_FLAG])  # type: ignore[arg-type]
        assert verdict.red_flags == (("chest_pain",) if mode == "report" else ())
        watch = verdict.watch()
        watch.feed("You do not need to see a doctor." * 10)
        assert (verdict.prefix, watch.suffix(), verdict.answer_alone) == ("", "", False)
        assert watch.faults == (["discourages_care"] if mode == "report" else [])


def test_only_mode_and_disclaimer_settings() -> None:
    assert Guard(emergency="only").before([RED_FLAG]).answer_alone
    assert not Guard(emergency="only").before([ORDINARY]).answer_alone
    assert _answer(Guard(disclaimer="never").before([ORDINARY]), "x") == "x"
    assert _answer(Guard(disclaimer="emergency").before([ORDINARY]), "x") == "x"
    assert DISCLAIMER["en"] in _answer(Guard(disclaimer="emergency").before([RED_FLAG]), "x")


def test_an_answer_that_discourages_care_is_corrected() -> None:
    verdict = Guard(disclaimer="never").before([RED_FLAG])
    assert "Correction" in _answer(verdict, "You do not need to go to the hospital for this.")
    assert "Correction" not in _answer(verdict, "Please go to the hospital.")


def test_symptoms_told_over_several_turns_count_once() -> None:
    guard = Guard()
    turns = ["My baby is 3 weeks old", "She has a fever of 38.5"]
    assert guard.before(turns[:1]).red_flags == ()
    assert "infant_fever" in guard.before(turns).red_flags
    assert guard.before([*turns, "What should I pack for the clinic?"]).red_flags == ()


@given(st.integers(1, 60), st.integers(0, 400))
def test_pieces_are_checked_as_the_whole_is(pieces: int, padding: int) -> None:
    text = (
        "Rest well. " * (padding // 11) + "You do not need to see a doctor. " + "Drink water. " * 9
    )
    verdict = Guard().before([RED_FLAG])
    assert _answer(verdict, text, pieces) == _answer(verdict, text)


def test_a_flag_of_any_turn_keeps_the_answers_watched() -> None:
    verdict = Guard(disclaimer="never").before([RED_FLAG, "Do I have to call an ambulance?"])
    assert verdict.red_flags == ()
    assert verdict.prefix == ""
    assert verdict.shown == ("chest_pain",)
    text = "No, you don't need to call an ambulance. Just rest at home."
    assert "Correction" in _answer(verdict, text)


def test_a_new_flag_of_a_later_turn_brings_advice() -> None:
    verdict = Guard().before([RED_FLAG, "ok", "ok", "ok", "now my face is drooping"])
    assert verdict.red_flags == ("stroke",)
    assert verdict.shown == ("chest_pain", "stroke")


def test_gas_is_answered_with_fresh_air() -> None:
    prefix = Guard().before(["the CO alarm is going off and we feel dizzy"]).prefix
    assert "fresh air" in prefix
    assert "vomit" not in prefix


def test_a_second_stage_may_add_an_emergency() -> None:
    verdict = Guard().before(["me duele mucho el pecho y no puedo respirar"])
    assert verdict.prefix == ""
    assert "emergency number" in verdict.escalated().prefix
    known = Guard().before([RED_FLAG])
    assert known.escalated() is known


def test_additions_are_taken_out_of_history() -> None:
    verdict = Guard().before([RED_FLAG + ", I took 30 pills"])
    assert without_additions(_answer(verdict, "As a doctor, I say: rest.")) == "As a doctor, I say: rest."  # fmt: skip
    assert without_additions("plain") == "plain"


def test_nothing_to_check() -> None:
    assert Guard().before([]).red_flags == ()
