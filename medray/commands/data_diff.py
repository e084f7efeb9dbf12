"""`medray data diff`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from medray.commands.data_options import Kind, Settings, StageName, sound_rows

if TYPE_CHECKING:
    from medray.types import Record

_NUM_SHOWN = 5


def diff_command(
    first: Annotated[str, typer.Argument(metavar="A", help="A dataset.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another dataset.")],
    kind: Kind = "auto",
    stage: StageName = None,
    settings: Settings = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the contents of two datasets, independent of files, layouts and order; texts are not printed.

    A changed row has the same user turns but another answer, system prompt or tool. Bad rows are skipped.
    """
    from medray.data.inspecting.comparing import compare

    found = compare(*(_rows(path, kind, settings, stage) for path in (first, second)))
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
        return
    typer.echo(f"A {first}: {found.num_rows[0]} rows")
    typer.echo(f"B {second}: {found.num_rows[1]} rows")
    typer.echo(f"same: {found.same}")
    _list("changed", [f"{a} -> {b}" for a, b in found.changed])
    _list("only in A", found.only[0])
    _list("only in B", found.only[1])
    typer.echo(f"answers to the same user turn in both: {found.shared_turns}")


def _list(title: str, places: list[str] | tuple[str, ...]) -> None:
    more = ", ..." if len(places) > _NUM_SHOWN else ""
    shown = f" ({', '.join(places[:_NUM_SHOWN])}{more})" if places else ""
    typer.echo(f"{title}: {len(places)}{shown}")


def _rows(
    path: str, kind: str, settings: list[str] | None, stage: str | None
) -> Iterator[tuple[str, Record]]:
    sound = sound_rows([path], kind, settings, stage)
    for row in sound.rows:
        yield row.where, row.record
    sound.tell_left_out(f"{path}: ")
