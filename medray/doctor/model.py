"""The model of a job: its files, its positions, its chat template and what the template teaches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medray.config.model import ModelConfig
from medray.doctor.finding import Finding, error, note, ok, warning
from medray.errors import MedrayError
from medray.models.fetching.fetch import resolve_model

ANSWER = "Ask for a chest X-ray."
CHAT = [
    {"role": "user", "content": "What should be done next?"},
    {"role": "assistant", "content": ANSWER},
]


def check_model(config: ModelConfig) -> Iterator[Finding]:
    """Everything that can be told from a tokenizer and two small files, without loading weights."""
    try:
        source = resolve_model(config.path)
    except MedrayError as missing:
        yield error(
            "model",
            str(missing),
            "the job cannot start without its model",
            f"medray fetch-model {config.path}",
        )
        return
    if isinstance(source, str):
        yield note("model", f"{source} is downloaded from the hub when a job starts")
        return
    from medray.models.tokenizer import load_tokenizer

    try:
        tokenizer = load_tokenizer(config)
    except MedrayError as broken:
        yield error(
            "model",
            str(broken),
            "no text can be tokenized",
            "copy the tokenizer files into the model folder",
        )
        return
    found = [*_ends(source, tokenizer), *_padding(tokenizer), *_template(tokenizer)]
    yield from found
    if not found:
        yield ok("model", f"{config.path}: template, stop token and mask agree")


def _ends(source: Path, tokenizer: Any) -> Iterator[Finding]:
    """Which tokens end a response: the engine reads one file, the tokenizer another."""
    stops = {
        i for name in ("generation_config.json", "config.json") for i in _eos_ids(source / name)
    }
    eos = tokenizer.eos_token_id
    if eos is None:
        yield error(
            "eos", "the tokenizer has no eos token", "responses would never end before the length limit",
            "set eos_token in tokenizer_config.json to the template's stop token",
        )  # fmt: skip
    elif stops and eos not in stops:
        names = ", ".join(repr(tokenizer.convert_ids_to_tokens(i)) for i in sorted(stops))
        yield error(
            "eos", f"the tokenizer ends with {tokenizer.eos_token!r}, generation_config.json with {names}",
            "training and the engine use different stop tokens, so responses run to their length limit",
            f"add {eos} to eos_token_id in generation_config.json",
        )  # fmt: skip


def _eos_ids(path: Path) -> list[int]:
    try:
        value = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    except (OSError, json.JSONDecodeError):
        return []
    return value if isinstance(value, list) else [value] if isinstance(value, int) else []


def _padding(tokenizer: Any) -> Iterator[Finding]:
    """medray packs rows and masks by position, so a missing pad token only matters to other tools."""
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id >= len(tokenizer):
        yield error(
            "pad", f"pad_token_id {tokenizer.pad_token_id} is outside the vocabulary of {len(tokenizer)} tokens",
            "the embedding of a padded row would be out of range", "set pad_token in tokenizer_config.json",
        )  # fmt: skip


def _template(tokenizer: Any) -> Iterator[Finding]:
    from medray.data.rendering.chat import render_chat

    if not getattr(tokenizer, "chat_template", None):
        yield error(
            "template", "the tokenizer has no chat template", "dialogues cannot be rendered",
            "set one with model.template (docs/TEMPLATES.md), or use an instruction-tuned model",
        )  # fmt: skip
        return
    try:
        chat = render_chat(CHAT, tokenizer)
    except MedrayError as refused:
        yield error(
            "template",
            str(refused),
            "dialogues cannot be trained on",
            "set another template with model.template",
        )
        return
    trained = chat.token_ids[chat.trained]
    taught = tokenizer.decode(trained.tolist(), skip_special_tokens=False)
    if ANSWER not in taught:
        yield error(
            "mask", f"the template marks {taught!r} of an answer as trained", "the model would not learn the answers",
            "name another template with model.template",
        )  # fmt: skip
    elif tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in trained.tolist():
        yield warning(
            "stop", f"an answer ends with {taught.rpartition(ANSWER)[2]!r}, not with {tokenizer.eos_token!r}",
            "the engine stops at the eos token, which the training data would never contain",
            "set the tokenizer's eos_token to the template's stop token",
        )  # fmt: skip
