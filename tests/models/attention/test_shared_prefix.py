"""Sharing a prompt changes what is computed, not what comes out: values and gradients equal the plain path's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medray.config.model import LoraConfig, ModelConfig
from medray.data.batches.packing import build_row
from medray.learners.scorer import Scorer
from medray.models.load import PolicyModel, load_policy
from medray.types import PromptTree
from tests.support.flex import on_cpu, with_flex
from tests.support.trees import random_tree, unshare

RELAXED = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
shapes = st.lists(
    st.tuples(st.integers(1, 24), st.lists(st.integers(1, 10), min_size=1, max_size=4)),
    min_size=1,
    max_size=3,
)


@pytest.fixture(scope="module", params=["tree", "flex", "dense", "plain"])
def policy(request: pytest.FixtureRequest, tiny_model: Path) -> Iterator[PolicyModel]:
    """The tiny model under each way of sharing."""
    if request.param != "flex":
        yield load_policy(ModelConfig(path=str(tiny_model), attention=request.param))
        return
    with on_cpu():
        yield with_flex(load_policy(ModelConfig(path=str(tiny_model))))


def _grads(
    policy: PolicyModel, trees: list[PromptTree]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Log-probabilities of one shared row, and the gradients of a weighted sum of them."""
    policy.module.zero_grad()
    logp = Scorer(policy).token_logp(build_row(trees))
    (logp * torch.linspace(-1, 1, len(logp))).sum().backward()
    return logp.detach(), {n: p.grad.clone() for n, p in policy.trainable() if p.grad is not None}


def _weighted_plain(
    policy: PolicyModel, trees: list[PromptTree]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The same weighted sum with every continuation as a causal sequence of its own."""
    policy.module.zero_grad()
    scorer = Scorer(policy)
    logps = torch.cat([scorer.token_logp(build_row([tree])) for tree in unshare(trees)])
    (logps * torch.linspace(-1, 1, len(logps))).sum().backward()
    return logps.detach(), {n: p.grad.clone() for n, p in policy.trainable() if p.grad is not None}


@given(shape=shapes, seed=st.integers(0, 2**16), vocabulary=st.sampled_from([5, 320]))
@RELAXED
def test_shared_equals_plain(
    policy: PolicyModel, shape: list[tuple[int, list[int]]], seed: int, vocabulary: int
) -> None:
    """Also where most sequences begin as others do."""
    rng = np.random.default_rng(seed)
    trees = [random_tree(rng, prompt, lengths, vocabulary=vocabulary) for prompt, lengths in shape]
    shared, shared_grads = _grads(policy, trees)
    plain, plain_grads = _weighted_plain(policy, trees)
    torch.testing.assert_close(shared, plain, rtol=1e-5, atol=1e-5)
    for name, grad in plain_grads.items():
        torch.testing.assert_close(
            shared_grads[name], grad, rtol=1e-4, atol=1e-5 * float(grad.abs().max() + 1)
        )


@pytest.mark.parametrize("checkpointing", [False, True])
def test_shared_equals_plain_under_lora_and_checkpointing(
    tiny_model: Path, checkpointing: bool
) -> None:
    config = ModelConfig(
        path=str(tiny_model), lora=LoraConfig(rank=4), gradient_checkpointing=checkpointing
    )
    policy = load_policy(config, seed=1)
    rng = np.random.default_rng(3)
    for _, parameter in policy.trainable():
        parameter.data.normal_(0, 0.1)
    trees = [random_tree(rng, 9, [4, 6, 1]), random_tree(rng, 5, [3, 3, 4], vocabulary=5)]
    shared, shared_grads = _grads(policy, trees)
    plain, plain_grads = _weighted_plain(policy, trees)
    torch.testing.assert_close(shared, plain, rtol=1e-5, atol=1e-5)
    assert plain_grads, "adapters must carry gradients"
    for name, grad in plain_grads.items():
        torch.testing.assert_close(
            shared_grads[name], grad, rtol=1e-4, atol=1e-5 * float(grad.abs().max() + 1)
        )


def test_siblings_are_invisible_to_each_other(policy: PolicyModel) -> None:
    """Changing one continuation leaves the log-probabilities of the others bit for bit alone."""
    rng = np.random.default_rng(0)
    tree = random_tree(rng, 8, [5, 5])
    other = PromptTree(
        tree.prompt_ids, (tree.continuations[0], random_tree(rng, 1, [5]).continuations[0])
    )
    scorer = Scorer(policy)
    torch.testing.assert_close(
        torch.from_numpy(scorer.logprobs([tree])[0][0]),
        torch.from_numpy(scorer.logprobs([other])[0][0]),
        rtol=0,
        atol=0,
    )


def test_sliding_window_is_kept(tiny_model: Path) -> None:
    """Tree attention under a window of 6 equals full attention under an explicit windowed mask."""
    from transformers.masking_utils import sliding_window_causal_mask_function

    from medray.models.attention.shared_prefix import row_layout, row_mask, tree_attention

    rng = np.random.default_rng(1)
    first, second = (random_tree(rng, size, [7, 4, 6], vocabulary=5) for size in (9, 12))
    begun = np.concatenate([first.prompt_ids[:8], second.prompt_ids])  # its own tokens are few
    row = build_row([first, PromptTree(begun, second.continuations)])
    size = len(row.token_ids)
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 2, size, 32), torch.randn(1, 1, size, 32), torch.randn(1, 1, size, 32)
    mask = row_mask(row_layout(row, torch.device("cpu")), sliding_window_causal_mask_function(6), 6)
    windowed, _ = tree_attention(torch.nn.Identity(), q, k, v, mask)
    at = torch.as_tensor(row.position_ids)
    visible = torch.zeros(size, size, dtype=torch.bool)
    for path in row.paths():
        for number, token in enumerate(path):
            visible[token, path[: number + 1]] = True
    visible &= at[:, None] - at[None] < 6
    expected = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=visible, enable_gqa=True
    )
    torch.testing.assert_close(windowed, expected.transpose(1, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("sinks", [False, True])
@pytest.mark.parametrize("window", [None, 6])
def test_one_kernel_gives_what_blocks_give(
    softcap: float | None, sinks: bool, window: int | None
) -> None:
    """FlexAttention over the walk equals attention by blocks: capped scores, sinks and windows included."""
    from transformers.masking_utils import causal_mask_function, sliding_window_causal_mask_function

    from medray.models.attention import flex
    from medray.models.attention import shared_prefix as attention

    rng, cpu = np.random.default_rng(2), torch.device("cpu")
    first, second = (random_tree(rng, size, [7, 4, 6], vocabulary=5) for size in (9, 12))
    row = build_row([first, second, random_tree(rng, 3, [2])])
    size = len(row.token_ids)
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 2, size, 32), torch.randn(1, 1, size, 32), torch.randn(1, 1, size, 16)
    terms = {"softcap": softcap, "s_aux": torch.randn(2) if sinks else None, "scaling": 0.5}
    rule = causal_mask_function if window is None else sliding_window_causal_mask_function(window)
    by_blocks, _ = attention.tree_attention(
        torch.nn.Identity(),
        q,
        k,
        v,
        attention.row_mask(attention.row_layout(row, cpu), rule, window),
        **terms,
    )
    whole, _ = flex.flex_tree_attention(
        torch.nn.Identity(), q, k, v, flex.block_mask(flex.row_walk(row, cpu), rule), **terms
    )
    torch.testing.assert_close(whole, by_blocks, rtol=1e-5, atol=1e-5)
