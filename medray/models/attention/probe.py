"""How a model shares prompts, found by trying: no list of architectures, no silent mistake.

A short row is computed with each way of sharing and compared with its sequences computed one by one. An
architecture whose tokens leak across sequences (convolutions, recurrences, biases by distance in the row)
gives another answer and is computed unshared.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from medray.data.batches.packing import PackedRow, build_row
from medray.errors import ModelError, first_line
from medray.models.attention import flex
from medray.models.attention import shared_prefix as attention
from medray.models.packed import PackedModel, PolicyModel, Sharing
from medray.observability.logging import get_logger
from medray.types import Continuation, PromptTree, TokenIds

_logger = get_logger(__name__)
WINDOW_KEYS = ("sliding_window", "attention_window_size", "attention_chunk_size", "window_size")


def choose_sharing(model: PackedModel) -> Sharing:
    """The fastest way of sharing that gives the right hidden states; sets the attention implementation.

    Raises:
        ModelError: `model.attention` asks for a way that does not fit, or the model computes nothing at all.
    """
    wanted, own = model.config.attention, str(model.module.config._attn_implementation)
    order: tuple[Sharing, ...] = ("tree", "dense") if wanted == "auto" else (wanted,)
    vocab_size = int(model.module.config.get_text_config().vocab_size)
    row, other_row = _probe_row(vocab_size), _probe_row(vocab_size, changed=True)
    expected = _states(model, "plain", own, row)
    name = model.module.config.model_type
    if isinstance(expected, Exception):
        text = first_line(expected)
        raise ModelError(f"model.path={model.config.path}: {name} fails on a short text: {text}")
    for way in order:
        if way == "plain" or not may_share(model, way):
            continue
        implementation = {"tree": attention.TREE, "flex": flex.FLEX}.get(way, own)
        found = _states(model, way, implementation, row)
        other = _states(model, way, implementation, other_row)
        if isinstance(found, Tensor) and isinstance(other, Tensor):
            leak = found[_unchanged(row)] - other[_unchanged(other_row)]
            if _right(found, leak, expected, model):
                _logger.info("%s: model.attention=%s: %s is computed", name, wanted, way)
                return way
    _set_attention(model, own)
    model.sharing = "plain"
    if wanted not in ("auto", "plain"):
        raise ModelError(f"model.attention={wanted} does not fit {name}: set model.attention=auto")
    _logger.info("%s: model.attention=%s: nothing is shared", name, wanted)
    return "plain"


def check_head(model: PolicyModel) -> None:
    """Compare the output head, as medray applies it, with the logits of the freshly loaded model itself.

    Raises:
        ModelError: the architecture does something to its logits that medray does not know.
    """
    ids = np.arange(7, dtype=np.int32)
    sequence = build_row([_tree(ids[:1], [ids[1:]])], whole=True)
    tokens = torch.as_tensor(sequence.token_ids, device=model.device)
    head = model.head()
    with torch.no_grad():
        expected = model.module(input_ids=tokens[None], use_cache=False).logits[0].float()
        hidden = model.hidden_states(sequence)
        found = head.scale * torch.nn.functional.linear(hidden, head.weight, head.bias).float()
        if head.softcap is not None:
            found = head.softcap * torch.tanh(found / head.softcap)
    # Equal up to a constant a position, which probabilities do not see.
    found, expected = (t - t.mean(-1, keepdim=True) for t in (found, expected))
    if not (found - expected).norm() <= _tolerance(model) * expected.norm():
        raise ModelError(
            f"model.path={model.config.path}: {model.module.config.model_type} changes its logits in a way medray "
            "does not know, so log-probabilities would be wrong"
        )


def may_share(model: PackedModel, way: Sharing) -> bool:
    """False where the configuration alone says that a row of several sequences cannot be right."""
    text = model.module.config.get_text_config()
    if not model.takes_positions or getattr(text, "alibi", False):
        return False  # distances would be counted along the row
    kinds = set(getattr(text, "layer_types", None) or ()) - {"full_attention"}
    windows = bool(kinds) or any(getattr(text, key, None) for key in WINDOW_KEYS)
    # One mask for all layers cannot say what each may see.
    return way != "dense" or not windows


def _probe_row(vocab_size: int, *, changed: bool = False) -> PackedRow:
    """Three trees, the third of which begins as the first; `changed` replaces the first continuation and the second
    tree."""
    rng, other = np.random.default_rng(0), np.random.default_rng(1)

    def ids(size: int, replaced: bool) -> TokenIds:
        top = min(vocab_size, 1000)
        first, second = (r.integers(0, top, size).astype(np.int32) for r in (rng, other))
        return second if replaced else first

    first = ids(7, False)
    trees = [
        _tree(first, [ids(3, changed), ids(5, False)]),
        _tree(ids(2, changed), [ids(4, changed)]),
        _tree(
            np.concatenate([first[:2], ids(3, False)]),
            [ids(1, False), ids(2, False), ids(2, False)],
        ),
    ]
    return build_row(trees, whole=True)


def _tree(prompt: TokenIds, continuations: list[TokenIds]) -> PromptTree:
    trained = (Continuation(c, np.ones(len(c), dtype=np.bool_)) for c in continuations)
    return PromptTree(prompt, tuple(trained))


def _unchanged(row: PackedRow) -> Tensor:
    """Tokens of the probe row that see nothing of what `changed` replaces."""
    first, _, third = row.spans
    kept = [first.prompt, first.continuations[1], third.prompt, *third.continuations]
    return torch.as_tensor(np.concatenate(kept))


def _states(
    model: PackedModel, way: Sharing, implementation: str, row: PackedRow
) -> Tensor | Exception:
    try:
        _set_attention(model, implementation)
        model.sharing = way
        with torch.no_grad():
            return model.hidden_states(row).float()
    except Exception as error:  # whatever an architecture's own code raises means: not this way
        return error


def _set_attention(model: PackedModel, implementation: str) -> None:
    if model.module.config._attn_implementation != implementation:
        model.module.set_attn_implementation(implementation)


def _right(found: Tensor, leak: Tensor, expected: Tensor, model: PackedModel) -> bool:
    """The states are those of separate sequences, and no token sees another: `leak` is by how much states change when
    others' tokens do."""
    # Mean removed: some models add a large constant vector to every state.
    spread = (expected - expected.mean(0)).norm()
    exact = model.config.quantisation == "none"
    return bool(
        (found - expected).norm() <= _tolerance(model) * spread
        and leak.norm() <= (1e-4 if exact else 0.02) * spread
    )


def _tolerance(model: PackedModel) -> float:
    exact = model.module.dtype == torch.float32 and model.config.quantisation == "none"
    return 1e-4 if exact else 0.05
