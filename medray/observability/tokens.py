"""Token sequences for people: the text, with what is trained standing out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from rich.text import Text

from medray.types import Continuation, PromptTree

TRAINED = "bold black on green"
MARKS = ("⟦", "⟧")
"""Around trained text where there are no colours."""

Decode = Callable[[list[int]], str]


def tree_lines(
    tree: PromptTree, decode: Decode, *, colours: bool, each_token: bool = False
) -> Iterator[Text]:
    """The prompt of a tree, and each continuation under a heading of its own.

    Args:
        tree: what a step trains on.
        decode: token ids to text, special tokens included.
        colours: trained text in colour; else between `MARKS`.
        each_token: tokens apart, with their numbers.
    """
    several = len(tree.continuations) > 1
    if len(tree.prompt_ids):
        untrained = [False] * len(tree.prompt_ids)
        yield Text(f"prompt, {len(tree.prompt_ids)} tokens, none trained", style="dim")
        yield _shown(tree.prompt_ids.tolist(), untrained, decode, colours, each_token)
    for number, continuation in enumerate(tree.continuations, start=1):
        title = f"continuation {number} of {len(tree.continuations)}" if several else "sequence"
        columns = "".join(
            f", {name} {_values(continuation, name)}" for name in continuation.columns
        )
        counts = f"{len(continuation.token_ids)} tokens, {int(continuation.trained.sum())} trained"
        yield Text(f"{title}, {counts}{columns}", style="dim")
        ids, trained = continuation.token_ids.tolist(), continuation.trained.tolist()
        yield _shown(ids, trained, decode, colours, each_token)


def _values(continuation: Continuation, name: str) -> str:
    """A column that is constant once, another one as it is at the trained tokens."""
    values = continuation.columns[name]
    if (values == values[0]).all():
        return f"{float(values[0]):g}"
    return " ".join(f"{float(value):g}" for value in values[continuation.trained])


def _shown(
    ids: Sequence[int], trained: Sequence[bool], decode: Decode, colours: bool, each_token: bool
) -> Text:
    text = Text()
    for is_trained, run in groupby(zip(ids, trained, strict=True), key=lambda pair: pair[1]):
        tokens = [token for token, _ in run]
        apart = (f"{token}:{decode([token])!r}" for token in tokens)
        piece = " ".join(apart) if each_token else decode(tokens)
        if is_trained and not colours:
            piece = f"{MARKS[0]}{piece}{MARKS[1]}"
        text.append(piece, style=TRAINED if is_trained and colours else "")
        if each_token:
            text.append(" ")
    return text
