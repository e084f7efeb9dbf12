"""The console that `logging.console` names."""

from __future__ import annotations

import sys
from typing import Literal, TextIO

from medray.observability.console.base import Console
from medray.observability.console.plain import PlainConsole, QuietConsole

Mode = Literal["auto", "rich", "plain", "quiet"]


def open_console(mode: Mode, num_steps: int, stream: TextIO | None = None) -> Console:
    """The console for `logging.console`; "auto" is "rich" on a terminal and "plain" elsewhere.

    Args:
        mode: as configured.
        num_steps: steps of the whole run, for the bar and the time left.
        stream: where to; None takes stdout.
    """
    out = stream or sys.stdout
    if mode == "quiet":
        return QuietConsole()
    if mode == "rich" or (mode == "auto" and out.isatty()):
        from medray.observability.console.rich import RichConsole

        return RichConsole(num_steps, out)
    return PlainConsole(num_steps, out)
