"""`medray tokenizer`: tokenizers for a domain."""

from __future__ import annotations

import typer

from medray.commands import tokenizer_build, tokenizer_extend

app = typer.Typer(
    help="Build a tokenizer, or extend a model's own with tokens of a domain.", no_args_is_help=True
)
app.command("build")(tokenizer_build.build_command)
app.command("extend")(tokenizer_extend.extend_command)
