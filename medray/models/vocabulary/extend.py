"""A model's own tokenizer with tokens for a domain, and embeddings for them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from medray.errors import ModelError
from medray.models.vocabulary.merging import Merge, continue_merges

_WORD = re.compile("▁*[^▁]+|▁+")  # of tokenizers that cut no words before they merge
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class Extension:
    """New tokens of a tokenizer, in the order of their numbers.

    `parts` are the tokens, of the tokenizer before, that each new one stands for. `tokens_before` and
    `tokens_after` count the tokens of the corpus.
    """

    tokens: tuple[str, ...]
    merges: tuple[Merge, ...]
    first_id: int
    parts: dict[int, tuple[int, ...]]
    tokens_before: int
    tokens_after: int


def find_extension(
    tokenizer: Any, lines: Iterable[str], *, num_tokens: int, min_count: int = 8
) -> Extension:
    """The tokens that save most in a corpus when the tokenizer's byte-pair merges are continued on it.

    All the merges that the tokenizer has keep their rank, so that a text changes only where a new token fits. The
    numbers of new tokens follow those of the old ones, and depend on the corpus alone.

    Args:
        tokenizer: a fast transformers tokenizer of byte-pair encoding.
        lines: the corpus.
        num_tokens: at most so many new tokens.
        min_count: a new token occurs at least so often.

    Raises:
        ModelError: the tokenizer is of another kind, or the corpus has nothing to add.
    """
    core = _core(tokenizer)
    counts = _words(core, lines)
    words = Counter[tuple[str, ...]]()
    for word, times in counts.items():
        words[tuple(token.value for token in core.model.tokenize(word))] += times
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    apart = {token: False for token in vocabulary if _BYTE.fullmatch(token)}
    merges, num_left = continue_merges(
        words, num_merges=num_tokens, min_count=min_count, is_mergeable=apart
    )
    if not merges:
        raise ModelError(
            f"no two tokens are adjacent {min_count} times in this corpus: add text, or lower --min-count"
        )
    first_id = max(vocabulary.values()) + 1
    tokens = [t for t in dict.fromkeys(m.token for m in merges) if t not in vocabulary]
    before = sum(len(tokens) * times for tokens, times in words.items())
    ids = vocabulary | {token: first_id + i for i, token in enumerate(tokens)}
    return Extension(
        tuple(tokens),
        tuple(merges),
        first_id,
        _parts(merges, ids, first_id),
        before,
        num_left,
    )


def save_extended(tokenizer: Any, extension: Extension, folder: Path) -> Any:
    """Write the tokenizer with its new tokens to `folder`, and load it from there.

    Raises:
        ModelError: what comes back is not the tokenizer with its new tokens.
    """
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(folder)
    for name in ("vocab.json", "merges.txt", "tokenizer.model"):
        (folder / name).unlink(missing_ok=True)  # of the tokenizer before
    rules = json.loads(_core(tokenizer).to_str())
    model = rules["model"]
    for added in rules[
        "added_tokens"
    ]:  # their numbers would move if the vocabulary grew below them
        model["vocab"].setdefault(added["content"], added["id"])
    for i, token in enumerate(extension.tokens):
        model["vocab"][token] = extension.first_id + i
    has_pairs = not model["merges"] or not isinstance(model["merges"][0], str)
    model["merges"] += [list(m.pair) if has_pairs else " ".join(m.pair) for m in extension.merges]
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(rules, ensure_ascii=False), encoding="utf-8")
    extended = AutoTokenizer.from_pretrained(folder)
    expected = tokenizer.get_vocab() | {
        token: extension.first_id + i for i, token in enumerate(extension.tokens)
    }
    if extended.get_vocab() != expected:
        raise ModelError(
            f"{folder}: transformers rebuilds the vocabulary of a {type(tokenizer).__name__} by its own rules, so "
            "that tokens cannot be added to it"
        )
    return extended


def extend_embeddings(module: Any, extension: Extension) -> None:
    """Give every new token the mean of the embeddings of the tokens it stands for, in the input and output layer.

    Rows are added where the model has too few. All old rows stay as they are.
    """
    import torch

    num_rows = module.get_input_embeddings().weight.shape[0]
    needed = extension.first_id + len(extension.tokens)
    if needed > num_rows:
        module.resize_token_embeddings(needed, mean_resizing=False)
    head = module.get_output_embeddings()
    layers = [module.get_input_embeddings()]
    if head is not None and head.weight is not layers[0].weight:
        layers.append(head)
    for layer in layers:
        weight = cast(Any, layer).weight
        with torch.no_grad():
            for token, parts in extension.parts.items():
                weight[token] = weight[list(parts)].float().mean(0).to(weight.dtype)


def _core(tokenizer: Any) -> Any:
    from tokenizers.models import BPE

    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None or not isinstance(core.model, BPE):
        kind = type(core.model).__name__ if core is not None else "slow"
        raise ModelError(
            f"a {kind} tokenizer cannot be extended: only byte-pair encoding (BPE) is supported"
        )
    return core


def _words(core: Any, lines: Iterable[str]) -> Counter[str]:
    """How often each word occurs, as the tokenizer itself cuts words."""
    counts = Counter[str]()
    for line in lines:
        text = core.normalizer.normalize_str(line) if core.normalizer is not None else line
        if core.pre_tokenizer is None:
            pieces: Sequence[str] = [text]
        else:
            pieces = [piece for piece, _ in core.pre_tokenizer.pre_tokenize_str(text)]
        for piece in pieces:
            if "▁" in piece:
                counts.update(_WORD.findall(piece))
            else:
                counts[piece] += 1
    return counts


def _parts(
    merges: Sequence[Merge], ids: dict[str, int], first_id: int
) -> dict[int, tuple[int, ...]]:
    parts: dict[int, tuple[int, ...]] = {}
    for merge in merges:
        if ids[merge.token] >= first_id and ids[merge.token] not in parts:
            both = (ids[token] for token in merge.pair)
            parts[ids[merge.token]] = tuple(p for token in both for p in parts.get(token, (token,)))
    return parts
