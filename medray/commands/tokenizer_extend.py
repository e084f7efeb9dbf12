"""`medray tokenizer extend`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medray.commands.data_options import Kind, Paths, Settings, data_config
from medray.commands.tokenizer_build import Characters, whole_folder
from medray.errors import ModelError
from medray.storage.writable import require_new_folder

if TYPE_CHECKING:
    from medray.config.model import ModelConfig
    from medray.models.vocabulary.extend import Extension

_NUM_SHOWN = 12


def extend_command(
    out: Annotated[Path, typer.Option(help="Output folder, new or empty.")],
    paths: Paths = None,
    model: Annotated[str, typer.Option(help="Catalogue name, folder or hub id.")] = "smollm2-135m",
    num_tokens: Annotated[int, typer.Option(min=1, help="Maximum number of new tokens.")] = 1000,
    min_count: Annotated[
        int, typer.Option(min=2, help="Minimum number of occurrences of a new token.")
    ] = 8,
    max_characters: Characters = None,
    tokenizer_only: Annotated[
        bool,
        typer.Option("--tokenizer-only", help="Write the tokenizer only, not the model's weights."),
    ] = False,
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Allow code that ships with the model to run."),
    ] = False,
    kind: Kind = "auto",
    settings: Settings = None,
) -> None:
    """Extend a model's BPE tokenizer with merges learned from a dataset, and write model and tokenizer.

    The embedding of a new token starts as the mean over the tokens it replaces. Existing tokens keep their ids and
    embeddings; new tokens follow, in the same order for the same data.
    """
    from medray.config.model import ModelConfig
    from medray.runs.inputs import require_model, require_rows

    require_new_folder(out, "--out", may_be_empty=True)
    config = ModelConfig(path=model, trust_remote_code=trust_remote_code)
    data = data_config(paths, kind, settings)
    require_model(model, "--model")
    require_rows(data)
    from medray.models.tokenizer import load_tokenizer
    from medray.models.vocabulary.corpus import corpus_lines
    from medray.models.vocabulary.extend import find_extension, save_extended

    tokenizer = load_tokenizer(config)
    lines = corpus_lines(data, max_characters)
    extension = find_extension(tokenizer, lines, num_tokens=num_tokens, min_count=min_count)
    with whole_folder(out) as temporary:
        if not tokenizer_only:
            _save_model(config, extension, temporary)
        save_extended(tokenizer, extension, temporary)
    typer.echo(_summary(out, extension, tokenizer))


def _save_model(config: ModelConfig, extension: Extension, folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    from medray.models.adapters.folder import is_adapter
    from medray.models.checkpoints.saving import save_model
    from medray.models.fetching.fetch import resolve_model
    from medray.models.vocabulary.extend import extend_embeddings

    source = resolve_model(config.path)
    if is_adapter(source):
        raise ModelError(f"--model {config.path} is an adapter: merge it first (medray merge)")
    module = AutoModelForCausalLM.from_pretrained(
        source, dtype="auto", trust_remote_code=config.trust_remote_code
    )
    extend_embeddings(module, extension)
    save_model(module, folder)


def _summary(out: Path, extension: Extension, tokenizer: Any) -> str:
    share = extension.tokens_after / extension.tokens_before
    shown = [tokenizer.convert_tokens_to_string([t]) for t in extension.tokens[:_NUM_SHOWN]]
    return (
        f"{out}: {len(extension.tokens):,} new tokens from number {extension.first_id} on"
        f" ({', '.join(map(repr, shown))} ...); the corpus takes {share:.0%} of the tokens it took"
        f" ({extension.tokens_before:,}, now {extension.tokens_after:,})"
    )
