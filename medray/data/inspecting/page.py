"""`medray data report`: a dataset on one page, without scripts or links; every text of the data is escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from medray.observability.report.style import STYLE
from medray.types import PromptTree, TokenIds

TABLES = ("roles", "languages", "tasks", "sources", "stages", "notes")


@dataclass(frozen=True)
class ShownRow:
    """A row as it is trained: runs of text with whether they are; `problem` says why there are none."""

    title: str
    counts: str = ""
    runs: tuple[tuple[str, bool], ...] = ()
    problem: str = ""


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}: dataset report</title>
<style>{{ style }}
.t { background: #bfe8d2; color: #10281c; border-radius: 2px; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
.bar { display: inline-block; height: 9px; background: var(--c1); border-radius: 2px; }
@media (prefers-color-scheme: dark) { .t { background: #1f5a3d; color: #e3f6ec; } }
</style></head><body><main>
<h1>{{ title }}</h1>
<dl>{% for name, value in facts %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
<h2>Lengths</h2>
<table><tr><th></th>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for name, numbers in lengths %}<tr><td>{{ name }}</td>{% for column in columns -%}
<td>{{ "{:,g}".format(numbers[column]) }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% for name, rows in tables %}<h2>{{ name | capitalize }}</h2>
<table>{% for label, count, share in rows %}<tr><td>{{ label }}</td><td>{{ "{:,}".format(count) }}</td>
<td><span class="bar" style="width: {{ share }}px"></span></td></tr>
{% endfor %}</table>
{% endfor %}<h2>Bad rows</h2>
{% if bad %}<table><tr><th>reason</th><th>rows</th><th>such as</th></tr>
{% for reason, count, examples in bad %}<tr><td>{{ reason }}</td><td>{{ "{:,}".format(count) }}</td>
<td>{% for example in examples %}{{ example }}<br>{% endfor %}</td></tr>
{% endfor %}</table>{% else %}<p>None.</p>{% endif %}
<h2>Examples</h2>
<p class="note">Rows drawn at random, as they are trained:
<span class="t">trained text</span> and text that is only read.</p>
{% for row in examples %}<details open><summary>{{ row.title }}</summary><p class="note">{{ row.counts }}</p>
{% if row.problem %}<p>{{ row.problem }}</p>{% else %}<div class="text">
{%- for text, trained in row.runs %}{% if trained %}<span class="t">{{ text }}</span>{% else %}{{ text }}{% endif %}
{%- endfor %}</div>{% endif %}</details>
{% endfor %}</main></body></html>
"""


def dataset_page(
    title: str,
    numbers: Mapping[str, Any],
    bad: Sequence[tuple[str, int, Sequence[str]]],
    examples: Sequence[ShownRow],
) -> str:
    """The page as HTML.

    Args:
        title: what the dataset is called.
        numbers: from `DatasetStatistics.as_dict`.
        bad: reason, number of rows and the first few of them, as `file:line: ...`.
        examples: rows to show.
    """
    import jinja2

    num_bad = sum(count for _, count, _ in bad)
    facts = [
        ("Rows", f"{numbers['records'] + num_bad:,}, {num_bad:,} of them bad"),
        ("Groups", f"{numbers['groups']:,}"),
        ("Repeated rows", f"{numbers['repeated_records']:,}"),
        ("Repeated prompts", f"{numbers['repeated_prompts']:,}"),
        ("Turns that several groups share", f"{numbers['turns_shared_by_groups']:,}"),
    ]
    named = [("turns", numbers["turns"])]
    named += [(f"characters of a {key}", value) for key, value in numbers["characters"].items()]
    lengths = [(name, values) for name, values in named if values]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_PAGE).render(
        title=title,
        style=STYLE,
        facts=facts,
        columns=list(lengths[0][1]) if lengths else [],
        lengths=lengths,
        tables=[(name, list(_bars(numbers[name]))) for name in TABLES if numbers[name]],
        bad=bad,
        examples=examples,
    )


def shown_runs(tree: PromptTree, decode: Any) -> Iterator[tuple[str, bool]]:
    """The text of a tree in runs, with whether they are trained; continuations begin on lines of their own."""
    if len(tree.prompt_ids):
        yield decode(tree.prompt_ids.tolist()), False
    for number, continuation in enumerate(tree.continuations, start=1):
        if len(tree.continuations) > 1:
            yield f"\n[{number}] ", False
        yield from _runs(continuation.token_ids, continuation.trained.tolist(), decode)


def _runs(token_ids: TokenIds, trained: list[bool], decode: Any) -> Iterator[tuple[str, bool]]:
    pairs = zip(token_ids.tolist(), trained, strict=True)
    for is_trained, run in groupby(pairs, key=lambda pair: pair[1]):
        yield decode([token for token, _ in run]), is_trained


def _bars(counts: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    largest = max(counts.values(), default=0) or 1
    for name, count in counts.items():
        yield name, count, round(240 * count / largest)
