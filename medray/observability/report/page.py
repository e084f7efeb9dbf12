"""`report.html`: one self-contained page about a run, with charts, without scripts or links."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from medray.observability.formatting import duration
from medray.observability.outcome import RunSummary, run_summary
from medray.observability.report.charts import Figure, run_figures
from medray.observability.report.style import STYLE
from medray.observability.summary import held_out_rows, phase_words, skill_words, trend_words
from medray.storage.atomic import write_text
from medray.storage.manifest import CONFIG_FILE, read_provenance
from medray.storage.metrics_file import read_metrics

REPORT_FILE = "report.html"


def write_report(folder: str | Path) -> Path:
    """Write `report.html` into the run folder `folder` and return its path.

    Raises:
        DataError: `metrics.jsonl` is missing or damaged.
        ResourceError: the disk is full.
    """
    folder = Path(folder)
    summary = run_summary(folder)
    figures = run_figures(read_metrics(folder))
    page = report_page(summary, figures, _provenance(folder))
    path = folder / REPORT_FILE
    write_text(path, page)
    return path


def report_page(summary: RunSummary, figures: Sequence[Figure], provenance: str = "") -> str:
    """The page as HTML text; `provenance` is HTML that is put at its end."""
    name = escape(Path(summary.folder).absolute().name)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}: training report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{name}</h1>\n{_facts(summary)}\n{_held_out_table(summary)}\n"
        f'<div class="figures">\n{"".join(map(_figure, figures))}</div>\n{provenance}'
        "</main>\n</body>\n</html>\n"
    )


def _facts(summary: RunSummary) -> str:
    name, words = trend_words(summary)
    facts = [
        ("Steps", f"{summary.num_steps}, {duration(summary.wall_s)} in all"),
        (f"Training {name}", "; ".join(words)),
        ("Medical skill", skill_words(summary)),
    ]
    if summary.phases:
        facts.append(("Median step", f"{duration(summary.step_s)}: {phase_words(summary)}"))
    if summary.nonfinite:
        counts = ", ".join(f"{name} ({times}x)" for name, times in summary.nonfinite.items())
        facts.append(("Not finite", counts))
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    return f"<dl>{items}</dl>"


def _held_out_table(summary: RunSummary) -> str:
    rows = held_out_rows(summary)
    if not rows:
        return ""
    first, last = summary.evaluated_steps[0], summary.evaluated_steps[-1]
    heads = ("Held out, 95% intervals", f"Step {first}", f"Step {last}", "Change")
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>"


def _figure(figure: Figure) -> str:
    keys = "".join(
        f'<span><i class="k s{i % 8 + 1}"></i>{escape(name)}</span>'
        for i, name in enumerate(figure.legend)
    )
    legend = f'<div class="legend">{keys}</div>' if len(figure.legend) > 1 else ""
    caption = f'<p class="note">{escape(figure.caption.strip())}</p>' if figure.caption else ""
    title = f"<figcaption>{escape(figure.title)}</figcaption>"
    return f"<figure>{title}{legend}{figure.svg}{caption}</figure>\n"


def _provenance(folder: Path) -> str:
    sections = []
    starts = read_provenance(folder)
    for number, start in enumerate(starts, start=1):
        resumed = start.get("resume_step")
        how = "" if resumed is None else f", resumed from step {resumed}"
        items = "".join(
            f"<dt>{escape(key)}</dt><dd>{escape(_plain(value))}</dd>"
            for key, value in start.items()
        )
        title = f"Start {number} of {len(starts)}{how}"
        sections.append(_details(title, f"<dl>{items}</dl>"))
    config = folder / CONFIG_FILE
    if config.is_file():
        text = config.read_text(encoding="utf-8", errors="replace")
        sections.append(_details("Configuration", f"<pre>{escape(text)}</pre>"))
    return "".join(sections)


def _details(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>\n"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return " ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)
