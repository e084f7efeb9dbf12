"""`medray data validate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from medray.commands.data_options import Kind, Paths, Settings, StageName, data_config, stage_of
from medray.errors import DataError

if TYPE_CHECKING:
    from medray.data.detection import Part
    from medray.data.loading.stages import Stage


@dataclass(slots=True)
class FileReport:
    """What was found in one file."""

    name: str
    kind: str = "unknown"
    num_rows: int = 0
    num_bad: dict[str, int] = field(default_factory=dict[str, int])  # by reason
    num_left_out: dict[str, int] = field(
        default_factory=dict[str, int]
    )  # sound, nothing to train on
    is_damaged: bool = False

    def line(self) -> str:
        """Format the report on one line for the terminal."""
        reasons = [f"{count} {reason}" for reason, count in self.num_bad.items()]
        if self.is_damaged:
            reasons.append("not readable to the end")
        total = sum(self.num_bad.values())
        bad = f", {total} bad ({'; '.join(reasons)})" if reasons else ""
        left = "".join(f", {count} left out ({why})" for why, count in self.num_left_out.items())
        good = self.num_rows - total - sum(self.num_left_out.values())
        return f"{self.name}: {self.kind}, {self.num_rows} rows, {good} good{bad}{left}"


def validate_command(
    paths: Paths = None,
    kind: Kind = "auto",
    stage: StageName = None,
    settings: Settings = None,
) -> None:
    """Report every bad row with file and line; exits with code 2 if there is any.

    With --stage, rows that cannot train that stage count as bad, too.
    """
    from medray.data.inspecting.by_file import parts_by_file, reading_notes

    wanted = stage_of(stage)
    configs = [data_config([path], kind, settings) for path in paths or ()]
    reports = [
        _check(name, opened, wanted)
        for config in configs or [data_config(None, kind, settings)]
        for name, opened in parts_by_file(config)
    ]
    for report in reports:
        typer.echo(report.line())
    for config in configs:
        for note in reading_notes(config):
            typer.echo(note)
    num_bad = sum(sum(report.num_bad.values()) for report in reports)
    num_damaged = sum(report.is_damaged for report in reports)
    if num_bad or num_damaged:
        num_rows = sum(report.num_rows for report in reports)
        found = [f"{num_bad} of {num_rows} rows are bad"] if num_bad else []
        if num_damaged:
            found.append(f"{num_damaged} of {len(reports)} files cannot be read to the end")
        raise DataError(f"{', '.join(found)}: fix the problems listed above")


def _check(name: str, opened: Callable[[], Part], stage: Stage | None) -> FileReport:
    from medray.data.loading.load import without_repeated_ids
    from medray.data.loading.rows import staged
    from medray.data.source import BadRow

    report = FileReport(name)
    try:
        part = opened()
        report.kind = part.kind
        for row in staged(without_repeated_ids(part.source.rows), stage):
            report.num_rows += 1
            if isinstance(row, BadRow) and row.is_left_out:
                report.num_left_out[row.reason] = report.num_left_out.get(row.reason, 0) + 1
            elif isinstance(row, BadRow):
                report.num_bad[row.reason] = report.num_bad.get(row.reason, 0) + 1
                typer.echo(str(row))
    except DataError as error:
        report.is_damaged = True
        typer.echo(str(error))
    return report
