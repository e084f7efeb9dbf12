"""What the tokens of a prepared folder depend on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from medray.config.prepare import PrepareJob
from medray.storage.manifest import package_versions

_PACKAGES = ("transformers", "tokenizers", "sentencepiece", "rensa", "pyarrow", "numpy")
_FREE = {"out", "resume", "workers", "memory_mb"}
"""Settings that do not change a byte of the shards."""


def identity(job: PrepareJob) -> dict[str, Any]:
    """The settings and package versions that decide what the shards are, as JSON values."""
    model = job.model
    return {
        "settings": job.model_dump(mode="json", exclude=_FREE | {"model"}),
        "model": {
            "path": model.path,
            "revision": model.revision,
            "tokenizer": model.tokenizer,
            "template": model.template,
        },
        "packages": package_versions(_PACKAGES),
    }


def first_difference(one: Any, other: Any, key: str = "") -> str | None:
    """The dotted key at which two values of JSON differ, with both values; None when they are the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            found = first_difference(one.get(name), other.get(name), f"{key}.{name}".lstrip("."))
            if found:
                return found
        return None
    return None if one == other else f"{key} was {json.dumps(one)} and is {json.dumps(other)}"


def tokenizer_sha256(tokenizer: Any) -> str:
    """A digest of all that decides which tokens a text becomes: vocabulary, rules, special tokens, chat template."""
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is not None:
        rules = json.loads(core.to_str())
        rules.pop("padding", None)
        rules.pop("truncation", None)
    else:
        rules = sorted(tokenizer.get_vocab().items())
    special = {name: str(token) for name, token in sorted(tokenizer.special_tokens_map.items())}
    whole = json.dumps([rules, tokenizer.chat_template, special], sort_keys=True, default=str)
    return hashlib.sha256(whole.encode()).hexdigest()
