"""The answer a response commits to: option letters or label words, in English and Chinese.

In falling order of strength: a marked answer (`<answer>`, `\\boxed`), the last claim ("the answer
is C"), a label that the text begins with, the last label alone in its clause, the only option
whose text is named. Labels that are denied, questioned or offered as alternatives do not count;
nor does a think block.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medray.rewards.mentions import AND, OR, Context, Mention, find_mentions
from medray.thoughts import visible_text

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MARKED = re.compile(
    r"<answer>(.*?)(?:</answer>|\Z)|\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}",
    re.DOTALL | re.IGNORECASE,
)
_MARKUP = re.compile(
    r"\\(?:text|mathrm|mathbf|textbf|rm|bf)\b\s*|[*`$#]+|__+|</?(?:b|i|strong|em)>|<\|[^|<>]*\|>"
)
_LOWER_LEAD = re.compile(r"\A([\s\(\[\"']*)([a-z])(?=\s*[.):\]](?!\w)|\s*\Z)")
_LOWER_CLAIM = re.compile(
    r"(\b(?:answer|option|choice)(?:\s+is|\s*:)?\s*[\(\[\"']*)([a-z])(?=[\)\].,;\"']|\s*(?:\n|\Z))",
    re.IGNORECASE,
)
_JOINED = re.compile(rf"\s*(?:,\s*(?:and|or)\b|[,、]|{AND}|{OR})\s*")
_AFTER_LEAD = re.compile(r"\s*(?:[.:,;、。\)\]\n\-]|\Z)")
_CALLED_RIGHT = re.compile(
    r"\b(?:is|are)\s+(?:the\s+)?(?:correct|right)|: *(?:correct|right)|(?<!不)正确"
)


@dataclass(frozen=True, slots=True)
class Labels:
    """How the options of an item may be named."""

    names: tuple[str, ...]
    """Letters, or the words to answer with (yes, no, maybe)."""
    texts: tuple[str, ...] = ()
    """What the letters stand for; empty when the names are the options themselves."""

    @property
    def is_letters(self) -> bool:
        """True when an answer is letters, possibly several; False when it is one of a few words."""
        return bool(self.texts)


def labels_for(options: Sequence[str], answer: str) -> Labels | None:
    """Letters when `answer` is letters of the options, words when it is an option, else None."""
    if not options:
        return None
    names = tuple(LETTERS[: len(options)])
    if answer and len(set(answer)) == len(answer) and set(answer) <= set(names):
        return Labels(names, tuple(options))
    if answer.casefold() in {option.casefold() for option in options}:
        return Labels(tuple(options))
    return None


def extract_answer(text: str, labels: Labels) -> str | None:
    """The answer `text` commits to.

    Args:
        text: a whole response, think blocks included.
        labels: what counts as an answer.

    Returns:
        Letters in order ("B", "ABD") or a name from `labels`; None when no answer can be read.
    """
    visible = visible_text(text)
    marked = [m[1] if m[1] is not None else m[2] for m in _MARKED.finditer(visible)]
    if marked:
        content = normalise(marked[-1], labels)
        return _joined_letters(content, labels) or _commitment(content, labels)
    return _commitment(normalise(visible, labels), labels)


def leading_answer(text: str, labels: Labels) -> str | None:
    """The answer that `text` begins with, or None when it begins otherwise."""
    content = normalise(visible_text(text), labels)
    return _leading(content, next(_mentions(content, Context(content), labels), None), labels)


def normalise(text: str, labels: Labels) -> str:
    """Full-width forms to ASCII, markup removed, a lower-case letter given as answer raised."""
    text = _MARKUP.sub("", unicodedata.normalize("NFKC", text)).strip().replace("\r\n", "\n")
    if labels.is_letters:
        known = "".join(labels.names).lower()
        for pattern in (_LOWER_LEAD, _LOWER_CLAIM):
            text = pattern.sub(
                lambda m: m[1] + (m[2].upper() if m[2].lower() in known else m[2]), text
            )
    return text


def _commitment(text: str, labels: Labels) -> str | None:
    text, listed = _labelled_lines(text, labels)
    context = Context(text)
    mentions = list(_mentions(text, context, labels))
    named = _named_options(text, context, labels)
    claims = [
        (m.start, _join(m.labels, labels)) for m in mentions if m.is_anchored and m.is_claimed
    ]
    claims += [(start, name) for start, name in named if context.is_answer(start)]
    if claims:
        return max(claims)[1]
    leading = listed or _leading(text, mentions[0] if mentions else None, labels)
    if leading:
        return leading
    alone = [m for m in mentions if m.is_alone and m.is_claimed]
    if alone:
        return _join(alone[-1].labels, labels)
    names = {name for _, name in named}
    return names.pop() if len(names) == 1 else None


def _mentions(text: str, context: Context, labels: Labels) -> Iterator[Mention]:
    return find_mentions(text, context, labels.names, is_letters=labels.is_letters)


def _leading(text: str, first: Mention | None, labels: Labels) -> str | None:
    if first is None or first.start > 0 or not first.is_claimed:
        return None
    stands_out = first.is_alone or first.is_anchored or _AFTER_LEAD.match(text, first.end)
    if stands_out or not labels.is_letters:
        return _join(first.labels, labels)
    is_labelled = len(first.labels) == 1 and _begins_with_option(
        text[first.end :], first.labels[0], labels
    )
    return first.labels[0] if is_labelled else None


def _labelled_lines(text: str, labels: Labels) -> tuple[str, str | None]:
    """Handle lines such as "B. <text of option B>".

    Returns:
        The text without such lines when all options are so listed: that echoes the question.
        Otherwise the text, and the letters so listed when they are several: that is an answer.
        Further lines that begin with a label ("A. seen in ...") explain, and lose it.
    """
    if not labels.is_letters:
        return text, None
    lines = text.split("\n")
    letter = f"[{labels.names[0]}-{labels.names[-1]}]"
    found = (re.match(rf"\s*[\(\[]?({letter})\s*[.):\]、]\s*(?=\S)", line) for line in lines)
    heads = {i: head for i, head in enumerate(found) if head}
    own = {
        i: head[1]
        for i, head in heads.items()
        if _begins_with_option(lines[i][head.end() :], head[1], labels)
    }
    names = tuple(name for name in labels.names if name in own.values())
    if names == labels.names:
        return "\n".join(line for i, line in enumerate(lines) if i not in own).strip(), None
    if len(heads) > 1:
        for i, head in heads.items():
            if i > 0 and not _CALLED_RIGHT.search(lines[i]):
                lines[i] = lines[i][head.end() :]
    return "\n".join(lines), _join(names, labels) if len(names) > 1 else None


def _begins_with_option(text: str, name: str, labels: Labels) -> bool:
    return _fold(text).startswith(_fold(labels.texts[labels.names.index(name)]))


def _named_options(text: str, context: Context, labels: Labels) -> list[tuple[int, str]]:
    """(start, name) of each option's text in `text` that is not rejected.

    Texts joined by "and" or commas are rejected together.
    """
    runs: list[list[tuple[int, int, str]]] = []
    for span in _option_spans(text, labels):
        if runs and _JOINED.fullmatch(text, runs[-1][-1][1], span[0]):
            runs[-1].append(span)
        else:
            runs.append([span])
    return [
        (start, name)
        for run in runs
        if not context.is_rejected(run[0][0], run[-1][1])
        for start, _, name in run
    ]


def _option_spans(text: str, labels: Labels) -> list[tuple[int, int, str]]:
    """(start, end, name) of every option's text, leaving out those inside a longer one."""
    folded = text.casefold()
    if len(folded) != len(text):  # a letter such as "ß" folds to two; then only letters are read
        return []
    spans: list[tuple[int, int, str]] = []
    for name, option in zip(labels.names, labels.texts, strict=False):
        needle = unicodedata.normalize("NFKC", option).casefold().strip(" .。")
        if len(needle) > 1:
            pattern = rf"(?<![a-z0-9]){re.escape(needle)}(?![a-z0-9])"
            spans += [(m.start(), m.end(), name) for m in re.finditer(pattern, folded)]
    spans.sort(key=lambda span: (span[0], -span[1]))
    kept: list[tuple[int, int, str]] = []
    for span in spans:
        if not kept or span[1] > kept[-1][1]:
            kept.append(span)
    return kept


def _joined_letters(text: str, labels: Labels) -> str | None:
    """The whole of `text` as letters in any order, or None."""
    bare = re.sub(r"[\s,、;/.。\(\)]", "", text)
    if not labels.is_letters or not bare or len(set(bare)) < len(bare):
        return None
    is_known = set(bare) <= set(labels.names)
    return _join(tuple(name for name in labels.names if name in bare), labels) if is_known else None


def _join(names: tuple[str, ...], labels: Labels) -> str:
    return "".join(names) if labels.is_letters else names[0]


def _fold(text: str) -> str:
    kept = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in kept if c.isalnum())
