"""Multiple choice from JSON Lines, English or Chinese, one right option or several.

A row: `{"question": ..., "options": ["...", ...] or {"A": "...", ...}, "answer": "B"}`, with optional `id`, `group`,
`lang`. Names go without case, and options may also stand in columns of their own or in objects (`parsing/options.py`).
"""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import Fields, check_text, from_json, optional_text
from medray.data.parsing.language import language_of, text_group
from medray.data.parsing.options import find_options, option_column
from medray.data.parsing.roles import by_role, option_columns, role_of
from medray.data.parsing.view import View
from medray.data.schema import RowSchema
from medray.data.source import RowError
from medray.types import Record

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
INSTRUCTION = {
    ("en", False): "Answer with the letter of the right option only.",
    (
        "en",
        True,
    ): "More than one option is right. Answer with the letters of all right options only.",
    ("zh", False): "只回答正确选项的字母。",
    ("zh", True): "本题有多个正确选项，只回答所有正确选项的字母。",
}
# An option that speaks of other options keeps its meaning only where it stands.
_POSITIONAL = re.compile(
    r"\b(all|none|both|neither|either|any)\b.{0,12}\b(above|below|these|those|of them)\b"
    r"|\b(both|neither|either|all but|except)\s+[A-Z]\b|\b[A-Z]\s*(and|or|&|\+)\s*[A-Z]\b"
    r"|以上|以下|上述|前述|[A-Z]\s*[和与及或、+]\s*[A-Z]|都对|都不对|皆是|皆非",
    re.IGNORECASE,
)
_LETTER_AND_TEXT = re.compile(r"\(?([A-Z])[.)．、:：](?:\s|$)")


def parse_choice(row: dict[str, Any], where: str, *, shuffle_seed: int | None = None) -> Record:
    """One row as a record; `where` is its id when the row has none.

    `answer` is a letter or letters ("B", "ABD", "A, C"), a list of letters, the 0-based index of
    the right option, or its text. The record's answer is always letters in order.
    """
    view = View(row)
    question = view.prompt_text()
    keys, texts = find_options(row)
    options = check_options(_lettered(keys, texts))
    record = arranged_choice(
        question,
        options,
        _right(view, row, keys, options),
        id=optional_text(row, "id") or where,
        lang=language_of(row, question),
        source=where,
        group_id=optional_text(row, "group"),
        shuffle_seed=shuffle_seed,
    )
    thought = view.text("reasoning")
    return replace(record, extra={"explanation": thought}) if thought else record


def _lettered(keys: list[str], texts: list[Any]) -> list[Any] | dict[str, Any]:
    """The options for `check_options`: by letter where their keys are letters, so that gaps are seen."""
    is_lettered = all(len(key) == 1 and key in LETTERS for key in keys)
    return (
        dict(zip(keys, texts, strict=True))
        if is_lettered and len(set(keys)) == len(keys)
        else texts
    )


def _right(view: View, row: Fields, keys: list[str], options: list[str]) -> set[int]:
    """Indices of the right options, on which all fields that say so agree.

    Raises:
        RowError: no field says, one names no option, or two disagree.
    """
    roles = by_role(row)
    names = roles.get("key") or roles.get("answer") or roles.get("label") or []
    if not names:
        stated = next((name for name in row if role_of(name) in ("key", "answer")), None)
        if stated is not None:
            right_indices(row[stated], options)  # says what is wrong with it
        names = [view.column("answer")]
    found = {name: _indices(row[name], name, keys, options) for name in names}
    first = names[0]
    for name in names[1:]:
        if found[name] != found[first]:
            raise RowError(
                "answers disagree", f"{first!r} and {name!r} name different options; correct one"
            )
    return found[first]


def _indices(value: Any, name: str, keys: list[str], options: list[str]) -> set[int]:
    """What one field names: a key of the options, a number (from 0), letters, or a text."""
    text = (
        str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    )
    is_text = text.casefold() in (option.casefold() for option in options)
    if text.casefold() in (key.casefold() for key in keys) and not (is_text and text.isdigit()):
        return {[key.casefold() for key in keys].index(text.casefold())}
    if text == "-1":
        raise RowError(
            "answer not among options",
            f"{name!r} is -1, as in test sets without answers; leave such rows out",
        )
    if text.isdigit() and not is_text:
        return right_indices(int(text), options)
    if isinstance(value, str) and (mark := _LETTER_AND_TEXT.match(value.strip())):
        return right_indices(mark[1], options)
    return right_indices(value, options)


def shuffle_seed_of(config: DataConfig) -> int | None:
    """The seed of the options' order, None where they keep that of the file."""
    return config.seed if config.shuffle_options else None


def arranged_choice(
    question: str,
    options: list[str],
    right: set[int],
    *,
    id: str,
    lang: str,
    shuffle_seed: int | None,
    group_id: str | None = None,
    source: str = "",
    licence: str = "",
) -> Record:
    """A multiple-choice record with its options in the order given, or in one drawn from the seed and `id`.

    Items with an option such as "all of the above" or "A and C" keep their order. The group comes
    before the shuffle: the same item is one group under every seed.
    """
    group_id = group_id or text_group(question, *sorted(options))
    if shuffle_seed is not None and not any(_POSITIONAL.search(o) for o in options):
        order = list(range(len(options)))
        random.Random(f"{shuffle_seed}/{id}").shuffle(order)
        options = [options[i] for i in order]
        right = {order.index(i) for i in right}
    return choice_record(
        question,
        options,
        right,
        id=id,
        lang=lang,
        source=source,
        licence=licence,
        group_id=group_id,
    )


def choice_record(
    question: str,
    options: list[str],
    right: set[int],
    *,
    id: str,
    group_id: str,
    lang: str = "en",
    source: str = "",
    licence: str = "",
) -> Record:
    """A multiple-choice record: the question, a lettered option a line, how to answer."""
    lines = [question, *(f"{LETTERS[i]}. {text}" for i, text in enumerate(options))]
    lines.append(INSTRUCTION[lang, len(right) > 1])
    return Record(
        id=id,
        messages=({"role": "user", "content": "\n".join(lines)},),
        answer="".join(LETTERS[i] for i in sorted(right)),
        options=tuple(options),
        task="choice",
        lang=lang,
        source=source,
        licence=licence,
        group_id=group_id,
    )


def check_options(value: Any) -> list[str]:
    """Options as texts, from a list or an object lettered A, B, ...; two of them are never the same."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        value = from_json(value, "options")  # as in a column of a CSV file
    if isinstance(value, dict):
        value = {key: text for key, text in value.items() if text is not None}  # as in Parquet
        expected = list(LETTERS[: len(value)])
        if sorted(value) != expected:
            raise RowError(
                "bad options",
                f"keys are {', '.join(map(repr, value))}; letter them A, B, C ... in turn",
            )
        value = [value[letter] for letter in expected]
    if not isinstance(value, list):
        raise RowError(
            "wrong type", "'options' must be a list of texts or an object lettered A, B, ..."
        )
    options = [" ".join(check_text(o, f"options[{i}]").split()) for i, o in enumerate(value)]
    if not 2 <= len(options) <= len(LETTERS):
        raise RowError("bad options", f"{len(options)} options; write 2 to {len(LETTERS)}")
    if len({text.casefold() for text in options}) < len(options):
        raise RowError("bad options", "two options have the same text; make them differ")
    return options


def right_indices(answer: Any, options: list[str]) -> set[int]:
    """Indices of the right options, from a letter form, an index or an option's text."""
    if isinstance(answer, list):
        parts = [check_text(a, f"answer[{i}]") for i, a in enumerate(answer)]
        if not parts:
            raise RowError("empty value", "'answer' lists no option; name at least one")
        if any(len(part) != 1 for part in parts):
            raise RowError("wrong type", "a list in 'answer' must hold single letters")
        answer = "".join(parts)
    if isinstance(answer, int) and not isinstance(answer, bool):
        if not 0 <= answer < len(options):
            raise RowError(
                "answer not among options",
                f"index {answer} of {len(options)} options; indices start at 0",
            )
        return {answer}
    text = check_text(answer, "answer")
    by_letters = _letter_indices(text, len(options))
    by_text = {i for i, option in enumerate(options) if option.casefold() == text.casefold()}
    if by_letters and by_text and by_letters != by_text:
        raise RowError(
            "ambiguous answer",
            f"{text!r} is a letter and another option's text; write the 0-based index",
        )
    if not by_letters and not by_text:
        raise RowError(
            "answer not among options",
            f"{text!r} is neither an option's text nor letters up to {LETTERS[len(options) - 1]}",
        )
    return by_letters or by_text


def _letter_indices(text: str, num_options: int) -> set[int]:
    letters = re.sub(r"[\s,、;/]+", "", unicodedata.normalize("NFKC", text))
    if len(letters) == 1:
        letters = letters.upper()
    indices = [LETTERS.find(letter) for letter in letters]
    if len(set(indices)) < len(indices) or not all(0 <= i < num_options for i in indices):
        return set()
    return set(indices)


def _matches(row: Fields) -> bool:
    has_options = option_column(row) is not None or bool(option_columns(row))
    return has_options and by_role(row).keys() >= {"question"}


READS = frozenset(
    {
        "question",
        "input",
        "context",
        "text",
        "options",
        "answers",
        "key",
        "answer",
        "label",
        "reasoning",
    }
)

SCHEMA = RowSchema(
    name="choice",
    summary="question, options, answer as letters, index or text",
    stages=("rl", "sft"),
    matches=_matches,
    parse=lambda row, where, config: parse_choice(row, where, shuffle_seed=shuffle_seed_of(config)),
    reads=READS,
)
SHUFFLED = RowSchema(
    name="choice-shuffled",
    summary="choice with data.shuffle_options on",
    stages=("rl", "sft"),
    matches=SCHEMA.matches,
    parse=lambda row, where, config: parse_choice(row, where, shuffle_seed=config.seed),
    reads=READS,
)
