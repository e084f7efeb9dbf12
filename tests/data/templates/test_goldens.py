"""One dialogue in every named format, written out by hand from the formats' publications."""

from __future__ import annotations

import pytest

from medray.data.rendering.chat import render_chat
from medray.data.templates.registry import TEMPLATES, apply_template
from tests.support.chats import byte_tokenizer, chat, decoded

DIALOGUE = chat("s:Be kind.", "u:Hi", "a:Hello", "u:Bye", "a:See you")

_IM = (
    "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
    "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\nSee you<|im_end|>\n"
)
_IM_THOUGHT = _IM.replace("See you", "<think>\n\n</think>\n\nSee you")
_LLAMA2 = "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Hello </s><s>[INST] Bye [/INST] See you </s>"

GOLDENS = {
    "alpaca": (
        "<s>Be kind.\n\n### Instruction:\nHi\n\n### Response:\nHello</s>\n\n"
        "### Instruction:\nBye\n\n### Response:\nSee you</s>\n\n"
    ),
    "aquila": "Be kind.###Human: Hi###Assistant:Hello</s>###Human: Bye###Assistant:See you</s>###",
    "baichuan": "Be kind.<reserved_102>Hi<reserved_103>Hello</s><reserved_102>Bye<reserved_103>See you</s>",
    "baichuan2": "Be kind.<reserved_106>Hi<reserved_107>Hello</s><reserved_106>Bye<reserved_107>See you</s>",
    "base": "Be kind.HiHello</s>ByeSee you</s>",
    "belle": (
        "<s>Be kind.\n\nHuman: Hi\n\nAssistant: Hello</s>\n\nHuman: Bye\n\nAssistant: See you</s>\n\n"
    ),
    "chatglm": "Be kind.\n[Round 0]\n问：Hi\n答：Hello</s>\n[Round 1]\n问：Bye\n答：See you</s>\n",
    "chatglm2": (
        "[gMASK]sopBe kind.\n\n[Round 1]\n\n问：Hi\n\n答：Hello</s>\n\n[Round 2]\n\n问：Bye\n\n答：See you</s>\n\n"
    ),
    "chatglm3": (
        "[gMASK]sop<|system|>\nBe kind.<|user|>\nHi<|assistant|>\nHello<|user|>\nBye<|assistant|>\nSee you<|user|>"
    ),
    "chatml": _IM,
    "cohere": (
        "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be kind.<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Hello<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Bye<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>See you<|END_OF_TURN_TOKEN|>"
    ),
    "deepseek": "<s>Be kind.\n\nUser: Hi\n\nAssistant: Hello</s>User: Bye\n\nAssistant: See you</s>",
    "deepseek3": "<s>Be kind.<｜User｜>Hi<｜Assistant｜>Hello</s><｜User｜>Bye<｜Assistant｜>See you</s>",
    "deepseekcoder": (
        "<s>Be kind.\n### Instruction:\nHi\n### Response:\nHello\n<|EOT|>\n"
        "### Instruction:\nBye\n### Response:\nSee you\n<|EOT|>\n"
    ),
    "intern": (
        "<s><|System|>:Be kind.\n<|User|>:Hi\n<|Bot|>:Hello<eoa>\n<|User|>:Bye\n<|Bot|>:See you<eoa>\n"
    ),
    "intern2": "<s>" + _IM,
    "linly": "<s>Be kind.\nUser: Hi\nBot: Hello</s>\nUser: Bye\nBot: See you</s>\n",
    "llama2": _LLAMA2,
    "llama2-zh": _LLAMA2,
    "llama3": (
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nSee you<|eot_id|>"
    ),
    "mistral": "<s>[INST] Be kind.\n\nHi[/INST] Hello</s>[INST] Bye[/INST] See you</s>",
    "orion": "<s>Be kind.\n\nHuman: Hi\n\nAssistant: </s>Hello</s>Human: Bye\n\nAssistant: </s>See you</s>",
    "phoenix": (
        "Be kind.\n\nHuman: <s>Hi</s>Assistant: <s>Hello</s>Human: <s>Bye</s>Assistant: <s>See you</s>"
    ),
    "qwen": _IM,
    "qwen3": _IM_THOUGHT,
    "qwen3_5": _IM_THOUGHT,
    "qwen3_5_nothink": _IM_THOUGHT,
    "qwen3_nothink": _IM,
    "starchat": (
        "<|system|>\nBe kind.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>\n"
        "<|user|>\nBye<|end|>\n<|assistant|>\nSee you<|end|>\n"
    ),
    "vicuna": "<s>Be kind. USER: Hi ASSISTANT: Hello</s>USER: Bye ASSISTANT: See you</s>",
    "xverse": "Be kind.\n\nHuman: Hi\n\nAssistant: Hello</s>Human: Bye\n\nAssistant: See you</s>",
    "yi": _IM,
    "ziya": "<s>Be kind.\n<human>:Hi\n<bot>:Hello</s>\n<human>:Bye\n<bot>:See you</s>\n",
}

VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed,"
    " and polite answers to the user's questions."
)
HUMAN_SYSTEM = VICUNA_SYSTEM.replace("curious user", "curious human").replace("user's", "human's")

PROMPTS = {  # one question, no system message, up to the assistant's first token
    "alpaca": (
        "<s>Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nHi\n\n### Response:\n"
    ),
    "aquila": HUMAN_SYSTEM + "###Human: Hi###Assistant:",
    "baichuan": "<reserved_102>Hi<reserved_103>",
    "baichuan2": "<reserved_106>Hi<reserved_107>",
    "base": "Hi",
    "belle": "<s>Human: Hi\n\nAssistant:",
    "chatglm": "[Round 0]\n问：Hi\n答：",
    "chatglm2": "[gMASK]sop[Round 1]\n\n问：Hi\n\n答：",
    "chatglm3": "[gMASK]sop<|user|>\nHi<|assistant|>",
    "chatml": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "cohere": (
        "<s><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
    ),
    "deepseek": "<s>User: Hi\n\nAssistant:",
    "deepseek3": "<s><｜User｜>Hi<｜Assistant｜>",
    "deepseekcoder": "<s>### Instruction:\nHi\n### Response:",
    "intern": "<s><|User|>:Hi\n<|Bot|>:",
    "intern2": "<s><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "linly": "<s>User: Hi\nBot:",
    "llama2": "<s>[INST] Hi [/INST]",
    "llama2-zh": "<s>[INST] <<SYS>>\nYou are a helpful assistant. 你是一个乐于助人的助手。\n<</SYS>>\n\nHi [/INST]",
    "llama3": (
        "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "mistral": "<s>[INST] Hi[/INST]",
    "orion": "<s>Human: Hi\n\nAssistant: </s>",
    "phoenix": HUMAN_SYSTEM + "\n\nHuman: <s>Hi</s>Assistant: <s>",
    "qwen": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
    "qwen3": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "qwen3_5": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n",
    "qwen3_5_nothink": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    "qwen3_nothink": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "starchat": "<|system|>\n<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>",
    "vicuna": "<s>" + VICUNA_SYSTEM + " USER: Hi ASSISTANT:",
    "xverse": "Human: Hi\n\nAssistant:",
    "yi": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "ziya": "<s><human>:Hi\n<bot>:",
}


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_dialogue(name: str) -> None:
    tokenizer = byte_tokenizer()
    apply_template(tokenizer, name)
    rendered = render_chat(DIALOGUE, tokenizer)
    assert rendered.text == GOLDENS[name]
    assert decoded(tokenizer, rendered.token_ids) == GOLDENS[name]


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_prompt(name: str) -> None:
    tokenizer = byte_tokenizer()
    apply_template(tokenizer, name)
    rendered = render_chat(chat("u:Hi"), tokenizer, add_generation_prompt=True)
    assert rendered.text == PROMPTS[name]
    assert not rendered.trained.any()


@pytest.mark.parametrize("name", [n for n, t in TEMPLATES.items() if t.default_system])
def test_an_empty_system_message_leaves_the_default_out(name: str) -> None:
    tokenizer = byte_tokenizer()
    apply_template(tokenizer, name)
    text = render_chat(chat("s:", "u:Hi"), tokenizer, add_generation_prompt=True).text
    assert TEMPLATES[name].default_system not in text
    assert "Hi" in text
    assert "<<SYS>>" not in text


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "<|im_start|>assistant\n"),
        ({"enable_thinking": True}, "<|im_start|>assistant\n"),
        ({"enable_thinking": False}, "<|im_start|>assistant\n<think>\n\n</think>\n\n"),
    ],
)
def test_qwen3_thinks_unless_told_not_to(variables: dict[str, bool], expected: str) -> None:
    tokenizer = byte_tokenizer()
    apply_template(tokenizer, "qwen3")
    text = render_chat(
        chat("u:Hi"), tokenizer, add_generation_prompt=True, variables=variables
    ).text
    assert text == "<|im_start|>user\nHi<|im_end|>\n" + expected
