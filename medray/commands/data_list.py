"""`medray data list`."""

from __future__ import annotations

import typer

from medray.commands.data_options import Kind, Paths, Settings, data_config
from medray.errors import DataError

WHOLE = {
    "icd10": "multiple choice made from the ICD-10-CM list; reads no file [rl, sft]",
    "icd10-sft": "demonstrations made from the ICD-10-CM list; reads no file [sft, rl]",
    "icd10-text": "documents made from the ICD-10-CM list; reads no file [pt]",
    "icd10-preference": "pairs made from the ICD-10-CM list; reads no file [preference, kto, sft, rl]",
    "icd10-steps": "solutions with labelled steps made from the ICD-10-CM list; reads no file [process, rl]",
    "calculators": "calculations made with MedCalc-Bench's calculators; reads no file [rl]",
    "calculators-zh": "the same with notes and questions in Chinese; reads no file [rl]",
    "auto": "the schema that the first rows of each file show",
    "pubmedqa": "PubMedQA's own file, an object keyed by PMIDs [rl, sft]",
}
"""Registered names that are not schemas of rows, and what to say of them."""


def list_command(paths: Paths = None, kind: Kind = "auto", settings: Settings = None) -> None:
    """List the schemas and the stages they train; with PATHs, the schema of each file."""
    if not paths:
        for line in _schemas():
            typer.echo(line)
        return
    from medray.data.inspecting.by_file import parts_by_file, reading_notes

    for path in paths:
        config = data_config([path], kind, settings)
        for name, opened in parts_by_file(config):
            try:
                part = opened()
            except DataError as error:
                typer.echo(f"{'unknown':<22}{error}")
                continue
            typer.echo(f"{part.kind:<22}{name}")
            for note in part.source.notes:
                typer.echo(f"{'':<22}{note}")
        for note in reading_notes(config):
            typer.echo(note)


def _schemas() -> list[str]:
    from medray.data.registry import SCHEMAS, find_schema
    from medray.data.schema import RowSchema

    lines: list[str] = []
    for name in SCHEMAS:
        schema = find_schema(name)
        if isinstance(schema, RowSchema):
            lines.append(f"{name:<22}{schema.summary} [{', '.join(schema.stages)}]")
        else:
            lines.append(f"{name:<22}{WHOLE[name]}")
    return lines
