"""`medray tokenizer build`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from medray.commands.data_options import Kind, Paths, Settings, data_config
from medray.errors import ConfigError
from medray.storage.writable import require_new_folder

Characters = Annotated[
    int | None, typer.Option("--max-characters", min=1, help="Maximum amount of text to read.")
]


def build_command(
    out: Annotated[Path, typer.Option(help="Output folder, new or empty.")],
    paths: Paths = None,
    vocabulary_size: Annotated[
        int,
        typer.Option(
            "--vocab-size", min=1, help="Maximum vocabulary size, including special tokens."
        ),
    ] = 16000,
    method: Annotated[
        str, typer.Option(help="bpe (byte-level) or sentencepiece (unigram with byte fallback).")
    ] = "bpe",
    max_characters: Characters = None,
    kind: Kind = "auto",
    settings: Settings = None,
) -> None:
    """Train a tokenizer on the texts of a dataset, with ChatML's special tokens and template.

    The result is deterministic: the same data give the same tokenizer.
    """
    from medray.runs.inputs import require_rows

    if method not in ("bpe", "sentencepiece"):
        raise ConfigError(f"--method {method}: use bpe or sentencepiece")
    require_new_folder(out, "--out", may_be_empty=True)
    data = data_config(paths, kind, settings)
    require_rows(data)
    from medray.models.vocabulary.build import Kind as Method
    from medray.models.vocabulary.build import build_tokenizer
    from medray.models.vocabulary.corpus import corpus_lines

    lines = corpus_lines(data, max_characters)
    tokenizer = build_tokenizer(cast(Method, method), lines, vocabulary_size)
    with whole_folder(out) as temporary:
        tokenizer.save_pretrained(temporary)
    typer.echo(f"{out}: {len(tokenizer):,} tokens, {method}")


def whole_folder(out: Path):
    """A temporary folder that becomes `out` when the block ends well."""
    import contextlib
    import shutil

    from medray.storage.atomic import replace_dir, temporary_beside

    @contextlib.contextmanager
    def writing():
        temporary = temporary_beside(out.absolute())
        temporary.mkdir(parents=True)
        try:
            yield temporary
            replace_dir(temporary, out.absolute())
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    return writing()
