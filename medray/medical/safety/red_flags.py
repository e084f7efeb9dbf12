"""Which emergency red flags a person's words show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medray.medical.safety.combining import Board, row
from medray.medical.safety.normalise import normalise
from medray.medical.safety.rules import ALWAYS, COMPOSED, FALLBACK, RULES, STATED
from medray.medical.safety.scanning import scan
from medray.medical.safety.scopes import scopes

RED_FLAGS = tuple(RULES)


def find_red_flags(text: str) -> tuple[str, ...]:
    """Names of the red flags in `text`, the most urgent first; empty for ordinary questions."""
    board = Board(scopes(scan(normalise(text))), always=ALWAYS, stated=STATED)
    for name, alternatives in COMPOSED.items():
        board.add(name, board.term(row(alternatives)[0]))
    return _held(board, RULES) or _held(board, FALLBACK)


def _held(board: Board, rules: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(
        flag for flag, rows in rules.items() if any(board.holds(row(each)) for each in rows)
    )
