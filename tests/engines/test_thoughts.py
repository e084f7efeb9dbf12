"""A thought is not an answer: what the prompt opened is known at the engine, and every reader sees the rest alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medray.config.environment import EnvironmentConfig
from medray.data.rendering.chat import ChatRenderer, renderer_of
from medray.data.rendering.prompts import render_prompts
from medray.data.templates.registry import get_template
from medray.engines.dialogue import EnvironmentTurn, environment_turn
from medray.engines.requests import Group, Sample
from medray.engines.thoughts import Thoughts
from medray.environments.registry import build_environment
from medray.rewards.choice import ChoiceReward
from medray.rewards.model import ModelReward
from medray.rewards.text import TextReward
from medray.types import FinishReason, GenerateSpec, Prompt, Record, Response, SamplingContract
from tests.support.chats import byte_tokenizer

SPEC = GenerateSpec(SamplingContract(), 1, 4000)
QUESTION = Record(
    "q", ({"role": "user", "content": "Which <think> drug?"},), "B", ("aspirin", "heparin")
)


def _tokenizer(name: str, *special: str) -> Any:
    template = get_template(name).jinja
    return byte_tokenizer("<|im_start|>", "<|im_end|>", *special, template=template)


def _prompt(tokenizer: Any, record: Record = QUESTION, **variables: Any) -> Prompt:
    [prompt] = render_prompts(
        [record], tokenizer, max_prompt_tokens=999, variables=variables
    ).prompts
    return prompt


def _say(sample: Sample, tokenizer: Any, text: str) -> str:
    tokens = tokenizer(text)["input_ids"]
    sample.extend(tokens, [-1.0] * len(tokens), 1)
    return tokenizer.decode(tokens, skip_special_tokens=True)


def _respond(
    tokenizer: Any, text: str, reason: FinishReason = "length", **variables: Any
) -> tuple[Prompt, Response]:
    prompt = _prompt(tokenizer, **variables)
    group = Group(0, prompt, 0, SPEC, thoughts=Thoughts(tokenizer))
    [sample] = group.samples
    sample.finish(reason, _say(sample, tokenizer, text))
    assert sample.response is not None
    return prompt, sample.response


CUT = "Let me see. The answer is B"
CASES = [
    ("qwen3_5", {}, CUT, ""),
    ("qwen3_5", {}, f"{CUT}?\n</think>\n\nA", "\n\nA"),
    ("qwen3_5", {"enable_thinking": False}, "B", "B"),
    ("qwen3_5_nothink", {}, "B", "B"),
    ("qwen3", {}, "B", "B"),
    ("qwen3", {}, f"<think>\n{CUT}", " "),
    ("qwen3", {}, "<think>\nA?\n</think>\n\nB", " \n\nB"),
]


@pytest.mark.parametrize(("template", "variables", "text", "visible"), CASES)
def test_what_is_visible_depends_on_what_the_prompt_opened(
    template: str, variables: dict[str, Any], text: str, visible: str
) -> None:
    _, response = _respond(_tokenizer(template), text, **variables)
    assert (response.text, response.visible_text) == (text, visible)


def test_a_response_cut_in_its_thought_is_paid_nothing() -> None:
    prompt, cut = _respond(_tokenizer("qwen3_5"), CUT)
    _, right = _respond(_tokenizer("qwen3_5"), f"{CUT}.</think>B")
    choice = ChoiceReward().score(prompt, [cut, right])
    assert choice.parts["right"] == (0.0, 1.0)
    assert choice.parts["parsed"] == (0.0, 1.0)
    assert TextReward().score(prompt, [cut, right]).parts["exact"] == (0.0, 1.0)


def test_a_reward_model_reads_the_visible_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scorer:
        def scores(self, messages: Any, answers: Any, options: Any) -> list[float]:
            seen.extend(answer[-1]["content"] for answer in answers)
            return [0.0] * len(answers)

    seen: list[str] = []
    prompt, cut = _respond(_tokenizer("qwen3_5"), CUT)
    _, right = _respond(_tokenizer("qwen3_5"), f"{CUT}.</think>B")
    reward: Any = ModelReward.__new__(ModelReward)
    reward.options = ModelReward.Options.model_construct(system=None, steps=None)
    reward.low, reward.high, reward.scorer = -1.0, 1.0, Scorer()
    reward.score(prompt, [cut, right])
    assert seen == ["", "B"]


def test_the_interview_hears_no_thoughts() -> None:
    """Each turn begins in a thought that its prompt, the first or the environment's, opened."""
    tokenizer = _tokenizer("qwen3_5")
    case = Record(
        "case",
        ({"role": "user", "content": "I feel unwell."},),
        extra={"findings": {"fever": "39 degrees.", "cough": "A dry one."}},
    )
    heard: list[list[str]] = []
    patient = build_environment(EnvironmentConfig(kind="interview"))
    thoughts = Thoughts(tokenizer)
    [sample] = Group(0, _prompt(tokenizer, case), 0, SPEC, thoughts=thoughts).samples
    for text in ("Ask of fever first.</think>Any cough?", "Diagnosis: cold?</think>And fever?"):
        sample.end_turn(_say(sample, tokenizer, text))
        heard.append(sample.turns)
        reply = patient.reply(case, sample.turns)
        assert reply is not None
        assert sample.add_turn(environment_turn(renderer_of(tokenizer), case, reply))
    sample.finish("length", _say(sample, tokenizer, "Diagnosis: influenza"))
    assert heard[-1] == ["Any cough?", "And fever?"]
    assert sample.response is not None
    assert [m["content"] for m in sample.response.dialogue] == [
        "Any cough?", "A dry one.", "And fever?", "39 degrees.", "",
    ]  # fmt: skip
    assert sample.response.text == "Diagnosis: influenza", "what was said is kept as it was"
    assert sample.response.visible_text == ""


def test_turns_of_an_environment_follow_the_variables() -> None:
    tokenizer = _tokenizer("qwen3_5")
    thinking: EnvironmentTurn = environment_turn(renderer_of(tokenizer), QUESTION, "Why?")
    off = environment_turn(ChatRenderer(tokenizer, {"enable_thinking": False}), QUESTION, "Why?")
    assert Thoughts(tokenizer).opened_by(thinking.token_ids)
    assert not Thoughts(tokenizer).opened_by(off.token_ids)
    assert tokenizer.decode(list(off.token_ids)).endswith("<think>\n\n</think>\n\n")


def test_templates_that_drop_earlier_thoughts_are_known() -> None:
    assert ChatRenderer(_tokenizer("qwen3")).drops_earlier_thoughts
    assert not ChatRenderer(_tokenizer("chatml")).drops_earlier_thoughts


def test_tags_that_are_special_tokens_are_found_although_texts_leave_them_out() -> None:
    tokenizer = _tokenizer("qwen3_5", "<think>", "</think>")
    _, cut = _respond(tokenizer, CUT)
    _, ended = _respond(tokenizer, f"{CUT}</think>A<|im_end|>", "stop")
    assert (cut.text, cut.visible_text) == (CUT, "")
    assert (ended.text, ended.visible_text) == (f"{CUT}A", "A")


def test_a_response_made_by_hand_hides_think_blocks() -> None:
    none = np.zeros(0, np.int32)
    made = Response(none, none.astype(np.float32), "<think>B</think>A", "stop")
    assert made.visible_text == " A"
