"""What a text names of medray (keys, commands, options, make targets, files), and which of it does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml
from pydantic import BaseModel

from medray.commands.check_config import SCHEMAS, job_schema
from medray.config.keys import known_keys
from medray.config.web import WebApp
from tests.support.command import MEDRAY, ROOT

FOLDERS = (
    "medray", "jobs", "docs", "tests", "benchmarks", "scripts", "serve_configs", "deploy", "constraints",
)  # fmt: skip
"""Folders of the project whose files texts name by a path from its root."""
_DOTTED = re.compile(r"(?<![\w./:$-])([a-z][a-z0-9_]*(?:\.(?:[a-z0-9_]+|N))+)(?![\w/(:-]|\.\w)")
_ASSIGNED = re.compile(r"(?<![\w./:$&?-])([a-z][a-z0-9_]*(?:\.(?:[a-z0-9_]+|N))*)=(?!=)")
_FILE_LIKE = re.compile(
    r"\.(?:jsonl?|model|ya?ml|py|md|txt|toml|html|csv|tsv|parquet|safetensors|gguf|bin|zip|xlsx?|sh|pt|log|gz|arrow|so|"
    r"org|com|io|org|co|dev|edu|md5|sha256|db|proto)$"
)
_COMMAND = re.compile(r"(?<![\w/.-])medray ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)(?![\w.:/=-])")
_OPTION = re.compile(r"(?<!\S)(--[a-z][a-z-]*)")
_TARGET = re.compile(r"(?<![\w/.-])make ([a-z]+(?:-[a-z]+)*)\b")
_PATH = re.compile(
    rf"(?<![\w./<~-])((?:{'|'.join(FOLDERS)})/(?:[\w./*<>-]|\{{[^}}\n]*\}})*[\w*/>}}])"
)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_ELSEWHERE = (
    "benchmarks/results",  # written by the benchmarks
    "medray/tuned.json",  # under the user's cache
    "medray/vllm",  # a column, medray's figure over vLLM's
)
"""What looks like a path in the project and is none."""
_NOT_OURS = (
    "auth.ssh_user",  # cluster.yaml, Ray's
    "chat.completion", "chat.completion.chunk",  # OpenAI's objects
    "tokenizer.ggml", "tokenizer.ggml.pre",  # GGUF's
    "texts.title",  # a field of Gradio's page
)  # fmt: skip
"""What looks like a key and is another project's name."""
_FREE = ("options", "columns", "variables", "custom", "judges")
"""Keys that hold what the user names."""


def wrong_keys(text: str, *, assigned: bool = False) -> Iterator[str]:
    """Dotted keys in `text` that no schema has.

    Args:
        text: a document, a message or a comment.
        assigned: take every `name=` for a key, too; for code, not for prose.
    """
    for match in _DOTTED.finditer(text):
        key = match[1]
        is_ours = key.split(".")[0] in sections() and key not in _NOT_OURS
        if is_ours and not _FILE_LIKE.search(key) and not is_key(key):
            yield key
    for match in _ASSIGNED.finditer(text) if assigned else ():
        if not is_key(match[1]):
            yield f"{match[1]}="


def wrong_yaml(markdown: str) -> Iterator[str]:
    """Keys of a document's blocks of YAML that no schema has."""

    def walk(value: object, key: str) -> Iterator[str]:
        if key and not is_key(key):
            yield key
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                yield from walk(inner, f"{key}.{name}" if key else name)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner, key)

    for block in re.findall(r"^ *```ya?ml\n(.*?)^ *```", markdown, re.MULTILINE | re.DOTALL):
        yield from walk(yaml.safe_load(block), "")


def wrong_commands(text: str) -> Iterator[str]:
    """Commands, and options of those, that `medray --help` does not show."""
    for line in text.replace("\\\n", " ").splitlines():
        for match in _COMMAND.finditer(line):
            words = tuple(match[1].split())
            group = hasattr(MEDRAY.get(words[:1]), "commands")
            if words[:1] not in MEDRAY or (group and len(words) > 1 and words not in MEDRAY):
                yield f"medray {match[1]}"
                continue
            command: Any = MEDRAY.get(words if group else words[:1])
            if group and len(words) == 1:
                continue
            known = {name for parameter in command.params for name in parameter.opts}
            known |= {name for parameter in command.params for name in parameter.secondary_opts}
            said = re.split(r"`|\||#|;|&&| {3,}", line[match.end() :])[0]
            if words[0] == "submit":
                said = said.partition(" jobs/")[0]
            for option in _OPTION.findall(said):
                if option not in known | {"--help"}:
                    yield f"medray {' '.join(words)} {option}"


def wrong_targets(text: str) -> Iterator[str]:
    """Targets that the Makefile does not have."""
    for match in _TARGET.finditer(text):
        if match[1] not in targets():
            yield f"make {match[1]}"


def wrong_paths(text: str) -> Iterator[str]:
    """Files and folders of the project that do not exist; `*`, `<name>` and `{a,b}` stand for anything."""
    for match in _PATH.finditer(text):
        path = match[1].rstrip("./")
        pattern = re.sub(r"<[^>]*>|\{[^}]*\}|\.{2,}|JOB", "*", path)
        if not path.startswith(_ELSEWHERE) and not any(ROOT.glob(pattern)):
            yield match[1]


def wrong_links(text: str, folder: str) -> Iterator[str]:
    """Links of a Markdown document in `folder` that lead nowhere."""
    for match in _LINK.finditer(text):
        if not (ROOT / folder / match[1]).exists():
            yield match[1]


def code_in(markdown: str) -> Iterator[str]:
    """Inline code and the blocks of code of a document, those in Python left out."""
    rest: list[str] = []
    for i, part in enumerate(re.split(r"^ *```", markdown, flags=re.MULTILINE)):
        if i % 2 == 0:
            rest.append(part)
        elif not part.startswith("python"):
            yield part.partition("\n")[2]
    yield from re.findall(r"`([^`]+)`", "".join(rest))


def is_key(name: str) -> bool:
    """Whether `name` is a key, or the end or the middle of one, with indices of lists where there are lists."""
    parts = [part for part in name.split(".") if not part.isdigit() and part != "N"]
    free = next((i for i, part in enumerate(parts) if part in _FREE), None)
    return ".".join(parts if free is None else parts[: free + 1]) in parts_of_keys()


@cache
def parts_of_keys() -> frozenset[str]:
    """Every run of names that stands in a key of a schema: `optim.lr` gives `optim`, `lr` and `optim.lr`."""
    found: set[str] = set()
    for key in all_keys():
        names = key.split(".")
        for start in range(len(names)):
            found.update(".".join(names[start:end]) for end in range(start + 1, len(names) + 1))
    return frozenset(found)


@cache
def sections() -> frozenset[str]:
    """Names, at any depth, that have keys in them."""
    return frozenset(name for key in all_keys() for name in key.split(".")[:-1])


@cache
def all_keys() -> frozenset[str]:
    """The dotted keys of every schema."""
    schemas: list[type[BaseModel]] = [*map(job_schema, SCHEMAS), WebApp]
    return frozenset(key for schema in schemas for key in known_keys(schema))


@cache
def targets() -> frozenset[str]:
    """Targets of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
