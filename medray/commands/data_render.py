"""`medray data render`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medray.commands.data_options import Kind, Paths, Settings, StageName, data_config, stage_of
from medray.commands.data_trees import first_stage, render_job, trees_of
from medray.errors import DataError

if TYPE_CHECKING:
    from medray.types import PromptTree, Record


def render_command(
    paths: Paths = None,
    row: Annotated[int, typer.Option(min=1, help="Number of the usable row, counted from 1.")] = 1,
    record_id: Annotated[
        str | None, typer.Option("--id", help="Id of the row, instead of its number.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Model whose tokenizer and chat template are used.")
    ] = "smollm2-135m",
    each_token: Annotated[
        bool, typer.Option("--tokens", help="Show each token separately.")
    ] = False,
    kind: Kind = "auto",
    stage: StageName = None,
    settings: Settings = None,
    job_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="KEY=VALUE",
            help="Rendering settings, such as train=last, chat.max_tokens=512, model.template=qwen.",
        ),
    ] = None,
) -> None:
    """Show a row as a stage trains on it, with the trained tokens highlighted.

    PATH may be a prepared folder. Without colors, trained text is enclosed in ⟦ and ⟧.
    """
    from rich.console import Console

    from medray.data.prepared.manifest import is_prepared
    from medray.models.tokenizer import load_tokenizer
    from medray.observability.tokens import tree_lines
    from medray.runs.inputs import require_model

    require_model(render_job("sft", model, job_settings).model.path, "--model")
    if paths and len(paths) == 1 and is_prepared(paths[0]):
        title, trees = _prepared(paths[0], row, record_id)
        job = render_job("sft", model, job_settings)
        tokenizer = load_tokenizer(job.model)
    else:
        where, record = _record(paths, kind, settings, row, record_id)
        chosen = stage_of(stage) or first_stage(record)
        job = render_job(chosen, model, job_settings)
        tokenizer = load_tokenizer(job.model)
        title = f"{where}: {record.id}, stage {chosen}"
        trees = trees_of(record, chosen, job, tokenizer, where)

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    console = Console(highlight=False, soft_wrap=True)
    console.print(title, style="bold", markup=False)
    for tree in trees:
        colours = console.color_system is not None
        for line in tree_lines(tree, decode, colours=colours, each_token=each_token):
            console.print(line)


def _record(
    paths: list[str] | None,
    kind: str,
    settings: list[str] | None,
    number: int,
    record_id: str | None,
) -> tuple[str, Record]:
    from medray.data.loading.mixture import open_source
    from medray.data.source import Row

    source = open_source(data_config(paths, kind, settings))
    rows = (row for row in source.rows if isinstance(row, Row))
    if record_id is not None:
        found = next((row for row in rows if row.record.id == record_id), None)
        if found is None:
            raise DataError(f"{source.name}: no usable row has the id {record_id}")
    else:
        found = next(itertools.islice(rows, number - 1, None), None)
        if found is None:
            raise DataError(f"{source.name}: fewer than {number} usable rows")
    return found.where, found.record


def _prepared(folder: str, number: int, record_id: str | None) -> tuple[str, Iterator[PromptTree]]:
    from medray.data.prepared.reader import PreparedTrees

    trees = PreparedTrees(Path(folder))
    if record_id is not None:
        index = next((i for i in range(len(trees)) if trees.id(i) == record_id), None)
        if index is None:
            raise DataError(f"{folder}: {record_id} has no training row")
    else:
        index = number - 1
        if index >= len(trees):
            raise DataError(f"{folder} has {len(trees)} training rows, but --row={number}")
    return f"{folder}: {trees.id(index)}, row {index + 1}", iter([trees[index]])
