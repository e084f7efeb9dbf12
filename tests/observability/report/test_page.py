"""The page holds the run's numbers, is well-formed and loads nothing from elsewhere."""

import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from medray.observability.report.charts import binned, run_figures
from medray.observability.report.page import write_report
from medray.observability.report.svg import Series, line_chart, stacked_bars, ticks
from medray.storage.manifest import write_manifest
from medray.storage.metrics_file import MetricRow, read_metrics


class Balance(HTMLParser):
    """Checks that tags close in order, and keeps the visible text and every attribute."""

    VOID = ("meta", "br")

    def __init__(self):
        super().__init__()
        self.open, self.text, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def page_of(folder):
    page = write_report(folder).read_text(encoding="utf-8")
    parsed = Balance()
    parsed.feed(page)
    assert parsed.open == []
    return page, parsed


def test_the_page_holds_summary_charts_and_provenance(make_run):
    folder = make_run()
    write_manifest(folder, '{"seed": 17}\n', seed=17, data={"sha256": "abc123"})
    page, parsed = page_of(folder)
    text = " ".join(parsed.text)
    for expected in (
        "rose by more than two standard errors",
        "no medical skill is claimed from this run",
        "0.54 [0.49, 0.59]",
        "Training reward",
        "Held-out values",
        "Parts of the reward",
        "KL divergence, nats",
        "Seconds of a step, by phase",
        "sha256 abc123",
        '{"seed": 17}',
    ):
        assert expected in text
    assert "Learning rate" not in text
    assert page.count("<svg") == 6


def test_nothing_is_loaded_from_elsewhere(make_run):
    page, parsed = page_of(make_run())
    assert "<script" not in page
    assert not {"src", "href", "onload", "style"} & {name for name, _ in parsed.attributes}
    assert not re.search(r"https?:|url\(|@import", page)


def test_light_and_dark_define_the_same_colours(make_run):
    page, _ = page_of(make_run())
    light, dark = re.findall(r":root \{(.*?)\}", page, flags=re.S)
    names = [set(re.findall(r"(--\w+):", block)) for block in (light, dark)]
    assert names[0] == names[1]
    assert set(re.findall(r"var\((--\w+)\)", page)) == names[0]


def test_names_are_escaped(make_run):
    folder = make_run({1: {"reward/<b>&": 1.0}}, {}, name="<i>&run")
    page, parsed = page_of(folder)
    assert "<b>" not in page
    assert "<i>&" not in page
    assert "<i>&run" in "".join(parsed.text)


@pytest.mark.parametrize("steps", [{}, {1: {"reward/mean": 0.5}}, {1: {"reward/mean": math.nan}}])
def test_short_and_empty_runs_have_a_page(make_run, steps):
    page, _ = page_of(make_run(steps, {}))
    assert page.count("<svg") == (1 if steps.get(1, {}).get("reward/mean") == 0.5 else 0)


def points(svg, tag, attribute):
    return [node.get(attribute) for node in ElementTree.fromstring(svg).iter(tag)]


def test_a_line_goes_through_its_values():
    # The plane spans x 56 to 548 and y 206 (below) to 10 (above).
    svg = line_chart("t", [Series("a", [0, 1, 2], [0.0, 1.0, 0.5])], y_range=(0.0, 1.0))
    assert points(svg, "polyline", "points") == ["56.0,206.0 302.0,10.0 548.0,108.0"]


def test_nan_breaks_the_line():
    svg = line_chart("t", [Series("a", [0, 1, 2, 3], [0.0, 1.0, math.nan, 0.5])])
    assert [len(p.split()) for p in points(svg, "polyline", "points")] == [2, 1]


def test_bands_and_whiskers_span_the_interval():
    series = [Series("a", [0, 1], [0.5, 0.5], [0.0, 0.0], [1.0, 1.0])]
    band = line_chart("t", series, y_range=(0.0, 1.0))
    assert points(band, "polygon", "points") == ["56.0,10.0 548.0,10.0 548.0,206.0 56.0,206.0"]
    bars = line_chart("t", series, y_range=(0.0, 1.0), whiskers=True)
    assert points(bars, "path", "d")[0] == "M53.0 10.0h6m-3 0V206.0m-3 0h6"
    assert "a, step 1: 0.50 [0.00, 1.00]" in bars


def test_infinite_ends_are_not_drawn():
    series = [Series("a", [0, 1], [0.5, 0.6], [-math.inf, 0.4], [math.inf, 0.8])]
    assert len(points(line_chart("t", series, whiskers=True), "path", "d")) == 1


def test_bars_stack_to_the_total():
    layers = [Series("x", [1, 2], [1.0, 3.0]), Series("y", [1, 2], [1.0, math.nan])]
    svg = stacked_bars("t", [1, 2], layers, show=str)
    heights = [float(h) for h in points(svg, "rect", "height")]
    scale = 196 / (3.0 * 1.05)
    assert heights == pytest.approx([scale, scale, 3 * scale, 0.0], abs=0.1)
    y = [float(v) for v in points(svg, "rect", "y")]
    assert y[1] + heights[1] == pytest.approx(y[0], abs=0.11)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 30, [0, 10, 20, 30]),
        (-0.5, 0.5, [-0.4, -0.2, 0, 0.2, 0.4]),
        (0.31, 0.33, [0.31, 0.315, 0.32, 0.325, 0.33]),
        (1e-6, 5e-6, [1e-6, 2e-6, 3e-6, 4e-6, 5e-6]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_long_runs_are_binned_to_means():
    rows = [MetricRow(i, "train", {"a": float(i), "b": math.nan}) for i in range(1, 11)]
    shown, size = binned(rows, 4)
    assert size == 3
    assert [(row.step, row.metrics) for row in shown] == [
        (3, {"a": 2.0}),
        (6, {"a": 5.0}),
        (9, {"a": 8.0}),
        (10, {"a": 10.0}),
    ]
    assert binned(rows, 10) == (rows, 1)


def test_figures_come_only_for_what_was_measured(make_run):
    figures = run_figures(read_metrics(make_run()))
    assert [figure.title for figure in figures] == [
        "Training reward",
        "Held-out values",
        "Parts of the reward",
        "KL divergence, nats",
        "Shares of responses and tokens",
        "Seconds of a step, by phase",
    ]
    by_title = {figure.title: figure for figure in figures}
    assert by_title["Seconds of a step, by phase"].legend == ("generate", "update", "other")
    assert by_title["Held-out values"].legend == ("reward", "accuracy")


def test_the_only_score_is_not_drawn_beside_the_reward():
    one = {"reward/mean": 0.5, "reward/choice/score": 0.5, "reward/choice/right": 0.2}
    two = one | {"reward/numeric/score": 0.1}
    for metrics, legend in (
        (one, ("choice/right",)),
        (two, ("choice/score", "choice/right", "numeric/score")),
    ):
        figures = run_figures([MetricRow(1, "train", metrics)])
        assert figures[1].legend == legend
