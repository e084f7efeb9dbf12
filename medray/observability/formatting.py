"""Numbers as people read them, the same on the console, in the summary and in the report."""

from __future__ import annotations

import math


def duration(seconds: float, *, decimals: int = 1) -> str:
    """`22.4 s`, `9 min`, `1 h 05 min`; `decimals` applies below a minute and a half."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 90:
        return f"{seconds:.{decimals}f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def number(value: float) -> str:
    """Short and unambiguous: `1,204`, `22.4`, `0.31`, `0.0021`, `1.2e-05`."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.1 or size == 0:
        return f"{value:.2f}"
    if size >= 0.001:
        return f"{value:.4f}".rstrip("0")
    return f"{value:.1e}"


def percent(share: float) -> str:
    """Format a share as a whole percentage: `45%` for 0.45; nan and inf as they are."""
    return f"{share:.0%}" if math.isfinite(share) else str(share)


def signed(value: float) -> str:
    """`number` with its sign, `+0.21`."""
    return number(value) if value < 0 or math.isnan(value) else f"+{number(value)}"


def estimate(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """`0.27 [0.20, 0.35]`; without the ends only the value."""
    if math.isnan(low) or math.isnan(high):
        return number(value)
    return f"{number(value)} [{low:.2f}, {high:.2f}]"
