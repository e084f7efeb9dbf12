"""Charts drawn by hand as SVG text: lines with bands or whiskers, and stacked bars.

Colours are classes (`s1` to `s8`), so the page around the chart decides them for light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from medray.observability.formatting import number

WIDTH, HEIGHT = 560, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 34
NUM_COLOURS = 8


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: `ys[i]` at step `xs[i]`; NaN leaves a gap. `lows` and `highs` are its interval.

    `shift` moves it sideways, in picture units, so that the whiskers of several curves stay apart.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    lows: Sequence[float] = ()
    highs: Sequence[float] = ()
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Frame:
    """The plane of a chart: data ranges on it, and where they fall in the picture."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        """Horizontal place of `value`, picture units."""
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Vertical place of `value`, picture units; larger values are higher up."""
        low, high = self.y_range
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    show: Callable[[float], str] = number,
    whiskers: bool = False,
    y_range: tuple[float, float] | None = None,
) -> str:
    """Curves over steps.

    Args:
        title: read out by screen readers.
        series: at least one with a finite value; the i-th has colour `s{i+1}`.
        show: how values are written on the axis and in tooltips.
        whiskers: draw intervals as bars at each point instead of as a band.
        y_range: what the axis must span at least; it grows with the values.
    """
    frame = _frame(series, y_range)
    body = list(_axes(frame, show))
    for index, curve in enumerate(series):
        colour = f"s{index % NUM_COLOURS + 1}"
        if curve.lows:
            body += (_whiskers if whiskers else _bands)(frame, curve, colour)
        body += _curves(frame, curve, colour, show, dots=whiskers or len(curve.xs) <= 60)
    return _picture(title, body)


def stacked_bars(
    title: str, xs: Sequence[float], layers: Sequence[Series], *, show: Callable[[float], str]
) -> str:
    """One bar a step, the layers' values on top of one another; every layer has one value per x."""
    totals = [sum(_zero(layer.ys[i]) for layer in layers) for i in range(len(xs))]
    step = min((b - a for a, b in pairwise(xs)), default=1)
    frame = Frame((xs[0] - step / 2, xs[-1] + step / 2), (0, _above(max(totals))))
    width = (frame.x(xs[0] + step) - frame.x(xs[0])) * 0.84
    body = list(_axes(frame, show))
    for i, x in enumerate(xs):
        base = 0.0
        for index, layer in enumerate(layers):
            value = _zero(layer.ys[i])
            top, bottom = frame.y(base + value), frame.y(base)
            tip = f"<title>{escape(layer.name)}, step {number_of_step(x)}: {show(value)}</title>"
            body.append(
                f'<rect class="f s{index % NUM_COLOURS + 1}" x="{frame.x(x) - width / 2:.1f}" '
                f'y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}">{tip}</rect>'
            )
            base += value
    return _picture(title, body)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) from low to high."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def number_of_step(x: float) -> str:
    """A step on the axis: whole numbers without decimals."""
    return f"{x:g}"


def _frame(series: Sequence[Series], y_range: tuple[float, float] | None) -> Frame:
    xs = [x for curve in series for x in curve.xs]
    ys = [y for c in series for y in (*c.ys, *c.lows, *c.highs) if math.isfinite(y)]
    low, high = min([*ys, *(y_range or ())]), max([*ys, *(y_range or ())])
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-300):
        margin = abs(high) * 0.1 or 1.0
        low, high = low - margin, high + margin
    elif y_range is None:
        margin = (high - low) * 0.06
        # Quantities that are never negative keep their zero line.
        low, high = (max(0.0, low - margin) if low >= 0 else low - margin), high + margin
    x_low, x_high = min(xs), max(xs)
    return Frame((x_low, x_high) if x_high > x_low else (x_low - 1, x_high + 1), (low, high))


def _axes(frame: Frame, show: Callable[[float], str]) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value in ticks(*frame.y_range):
        y = frame.y(value)
        yield f'<line class="g" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(show(value))}</text>'
    for value in ticks(*frame.x_range, count=8):
        if value == int(value):
            x = frame.x(value)
            text = number_of_step(value)
            yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>'
    yield f'<line class="a" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    yield f'<text x="{right}" y="{HEIGHT - 3}" text-anchor="end">step</text>'


def _curves(
    frame: Frame, curve: Series, colour: str, show: Callable[[float], str], *, dots: bool
) -> Iterator[str]:
    for run in _runs(curve.ys):
        places = {i: frame.x(curve.xs[i]) + curve.shift for i in run}
        points = " ".join(f"{places[i]:.1f},{frame.y(curve.ys[i]):.1f}" for i in run)
        yield f'<polyline class="l {colour}" points="{points}"/>'
        for i in run if dots or len(run) == 1 else ():
            x, y = curve.xs[i], curve.ys[i]
            ends = ""
            if curve.lows and math.isfinite(curve.lows[i]):
                ends = f" [{show(curve.lows[i])}, {show(curve.highs[i])}]"
            tip = f"{escape(curve.name)}, step {number_of_step(x)}: {show(y)}{ends}"
            dot = f'<circle class="f {colour}" cx="{places[i]:.1f}" cy="{frame.y(y):.1f}" r="2.6">'
            yield f"{dot}<title>{tip}</title></circle>"


def _bands(frame: Frame, curve: Series, colour: str) -> Iterator[str]:
    for run in _runs([low + high for low, high in zip(curve.lows, curve.highs, strict=True)]):
        upper = [f"{frame.x(curve.xs[i]):.1f},{frame.y(curve.highs[i]):.1f}" for i in run]
        lower = [f"{frame.x(curve.xs[i]):.1f},{frame.y(curve.lows[i]):.1f}" for i in reversed(run)]
        yield f'<polygon class="b {colour}" points="{" ".join(upper + lower)}"/>'


def _whiskers(frame: Frame, curve: Series, colour: str) -> Iterator[str]:
    for i, x in enumerate(curve.xs):
        low, high = curve.lows[i], curve.highs[i]
        if math.isfinite(low) and math.isfinite(high):
            left, top, bottom = frame.x(x) + curve.shift - 3, frame.y(high), frame.y(low)
            bar = f"M{left:.1f} {top:.1f}h6m-3 0V{bottom:.1f}m-3 0h6"
            yield f'<path class="l {colour}" d="{bar}"/>'


def _runs(ys: Sequence[float]) -> Iterator[list[int]]:
    run: list[int] = []
    for i, y in enumerate(ys):
        if math.isfinite(y):
            run.append(i)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _picture(title: str, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(body)}</svg>"
    )


def _zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _above(value: float) -> float:
    return value * 1.05 if value > 0 else 1.0
