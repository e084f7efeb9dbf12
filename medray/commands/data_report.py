"""`medray data report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medray.commands.data_options import Kind, Paths, Settings, StageName, sound_rows, stage_of
from medray.commands.data_trees import first_stage, render_job, trees_of

if TYPE_CHECKING:
    from medray.data.inspecting.page import ShownRow
    from medray.data.loading.stages import Stage
    from medray.data.source import Row


def report_command(
    paths: Paths = None,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    num_examples: Annotated[int, typer.Option(min=0, help="Number of rendered examples.")] = 20,
    seed: Annotated[int, typer.Option(help="Random seed for the choice of rows.")] = 17,
    model: Annotated[
        str, typer.Option(help="Model whose tokenizer and chat template are used.")
    ] = "smollm2-135m",
    kind: Kind = "auto",
    stage: StageName = None,
    settings: Settings = None,
    job_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="KEY=VALUE", help="Rendering settings, as in `medray data render`."
        ),
    ] = None,
) -> None:
    """Write an HTML page about a dataset: lengths, roles, languages, duplicates, bad rows, rendered examples.

    The page contains texts of the dataset; the command's output and logs do not.
    """
    from medray.data.inspecting.page import dataset_page
    from medray.data.inspecting.sampling import Reservoir
    from medray.data.inspecting.statistics import DatasetStatistics
    from medray.data.source import Row
    from medray.models.tokenizer import load_tokenizer
    from medray.runs.inputs import require_model
    from medray.storage.atomic import write_text
    from medray.storage.writable import require_writable

    wanted = stage_of(stage)
    require_writable(out, "--out")
    require_model(render_job("sft", model, job_settings).model.path, "--model")
    source, rows, dropped = sound_rows(paths, kind, settings, stage)
    statistics, drawn = DatasetStatistics(), Reservoir[Row](num_examples, seed)
    for row in rows:
        statistics.add(row.record)
        drawn.add(row)
    tokenizer = load_tokenizer(render_job("sft", model, job_settings).model)
    examples = [_shown(row, wanted, model, job_settings, tokenizer) for row in drawn.items()]
    bad = [(reason, drop.count, drop.examples) for reason, drop in dropped.by_reason().items()]
    write_text(out, dataset_page(source.name, statistics.as_dict(), bad, examples))
    typer.echo(
        f"{out}: {statistics.num_records} rows, {dropped.num_rows} bad, {len(examples)} examples"
    )


def _shown(
    row: Row,
    stage: Stage | None,
    model: str,
    settings: list[str] | None,
    tokenizer: Any,
) -> ShownRow:
    from medray.data.inspecting.page import ShownRow, shown_runs
    from medray.errors import DataError

    try:
        chosen = first_stage(row.record) if stage in (None, "rl") else stage
    except DataError as error:
        return ShownRow(row.where, problem=str(error))
    job = render_job(chosen, model, settings)

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    try:
        trees = list(trees_of(row.record, chosen, job, tokenizer, row.where))
    except DataError as error:
        return ShownRow(row.where, f"stage {chosen}", problem=str(error))
    runs = tuple(run for tree in trees for run in shown_runs(tree, decode))
    num_trained = sum(int(c.trained.sum()) for tree in trees for c in tree.continuations)
    num_tokens = sum(tree.num_tokens for tree in trees)
    counts = f"stage {chosen}, {num_tokens:,} tokens, {num_trained:,} trained"
    return ShownRow(row.where, counts, runs)
