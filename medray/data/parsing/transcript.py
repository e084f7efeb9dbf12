"""Dialogues that stand inside one text: `Human: ... Assistant: ...`, chat markup, `问：... 答：...`."""

from __future__ import annotations

import re
from typing import Any

from medray.data.parsing.fields import check_encodable
from medray.types import Message, Role

_FAMILIES: tuple[dict[str, Role], ...] = (
    {"human": "user", "user": "user", "assistant": "assistant", "ai": "assistant", "bot": "assistant",
     "gpt": "assistant", "chatgpt": "assistant", "system": "system"},
    {"instruction": "user", "input": "user", "response": "assistant", "output": "assistant"},
    {"patient": "user", "client": "user", "doctor": "assistant", "physician": "assistant", "therapist": "assistant"},
    {"患者": "user", "病人": "user", "医生": "assistant", "大夫": "assistant"},
    {"用户": "user", "助手": "assistant"},
    {"问": "user", "答": "assistant"},
    {"q": "user", "a": "assistant", "question": "user", "answer": "assistant"},
)  # fmt: skip
"""Speakers that stand together; a dialogue keeps to one family."""
_NOT_MARKUP = 2
"""Families before this index are those of language models; those from it on are of people."""
_MARKUP = re.compile(
    r"<\|(?:im_start\|>|start_header_id\|>)?(system|user|assistant)(?:\|>|<\|end_header_id\|>)?\s*"
)
_MARKUP_ENDS = re.compile(r"<\|(?:im_end|eot_id|end|endoftext)\|>\s*|</s>\s*")
_LLAMA2 = re.compile(r"(?:<s>)?\s*\[INST\](.*?)\[/INST\]", re.DOTALL)
_LLAMA2_SYSTEM = re.compile(r"<<SYS>>(.*?)<</SYS>>", re.DOTALL)


def _pattern(family: dict[str, Role]) -> re.Pattern[str]:
    """Finds speakers where a line begins, after `##`, or in capitals anywhere (Vicuna's `USER:`)."""
    names = "|".join(sorted(family, key=len, reverse=True))
    begins = r"(?:^|(?<=\n)|</s>|(?<=\s)(?=[A-Z]{4,}:))[ \t]*(?:#+ *|\*\*)?"
    return re.compile(
        rf"(?:{begins}|##+ *)({names})(?:\*\*)?\s*[:：](?:\*\*)?[ \t]*", re.IGNORECASE
    )


_PATTERNS = tuple(_pattern(family) for family in _FAMILIES)


def parse_transcript(text: str, name: str, *, people: bool = True) -> tuple[Message, ...]:
    """The turns of a dialogue inside one text; () for any other text.

    Both sides must speak, the user (or a system text) first. What stands before the first speaker is the system's. An
    empty last turn of the assistant, where a prompt ends, is no turn.

    Args:
        text: the whole text.
        name: the field that held it, for errors.
        people: doctors and patients, questions and answers are speakers, too; False for texts that may be documents.

    Raises:
        RowError: the text holds half a surrogate pair.
    """
    check_encodable(text, name)
    if "[/INST]" in text:
        return _llama2(text)
    if "<|" in text:
        pieces = _pieces(text, _MARKUP, {r: r for r in ("system", "user", "assistant")})
        return _checked([(role, _MARKUP_ENDS.sub("", said)) for role, said in pieces])
    for index, (family, pattern) in enumerate(zip(_FAMILIES, _PATTERNS, strict=True)):
        if index >= _NOT_MARKUP and not people:
            break
        if turns := _checked(_pieces(text, pattern, family), people and index >= _NOT_MARKUP):
            return turns
    return ()


def _pieces(text: str, pattern: re.Pattern[str], roles: Any) -> list[tuple[Role, str]]:
    marks = list(pattern.finditer(text))
    if not marks:
        return []
    found: list[tuple[Role, str]] = [("system", text[: marks[0].start()])]
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        end = following.start() if following else len(text)
        found.append((roles[mark[1].lower()], text[mark.end() : end]))
    return found


def _llama2(text: str) -> tuple[Message, ...]:
    found: list[tuple[Role, str]] = []
    marks = list(_LLAMA2.finditer(text))
    if not marks or text[: marks[0].start()].strip():
        return ()
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        said = mark[1]
        if system := _LLAMA2_SYSTEM.search(said):
            found.append(("system", system[1]))
            said = said.replace(system[0], "")
        end = following.start() if following else len(text)
        found += [("user", said), ("assistant", re.sub(r"</?s>", "", text[mark.end() : end]))]
    return _checked(found)


def _checked(pieces: list[tuple[Role, str]], either_begins: bool = False) -> tuple[Message, ...]:
    said: list[tuple[Role, str]] = [(role, text.strip()) for role, text in pieces]
    if not said:
        return ()
    if said[-1] == ("assistant", ""):
        opens_answer, said = True, said[:-1]
    else:
        opens_answer = False
    said = [(role, text) for role, text in said if text or role != "system"]
    roles = [role for role, _ in said]
    speakers = {role for role in roles if role != "system"}
    begins_well = either_begins or [role for role in roles if role != "system"][:1] == ["user"]
    if not begins_well or not all(text for _, text in said):
        return ()
    if roles.count("system") > 1 or "system" in roles[1:]:
        return ()
    if speakers != {"user", "assistant"} and not opens_answer:
        return ()
    return _merged(said)


def _merged(said: list[tuple[Role, str]]) -> tuple[Message, ...]:
    """Turns, several of one speaker in a row as one."""
    messages: list[Message] = []
    for role, text in said:
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += f"\n\n{text}"
        else:
            messages.append({"role": role, "content": text})
    return tuple(messages)
