import math

import pytest
import torch
from golden import reference
from golden.compare import assert_gradient, assert_same, integers, light, vector, weights
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from medray.losses import logprobs, projection
from medray.losses.logprobs import token_logprobs

LN2, LN5 = math.log(2), math.log(5)


class Recorder(TorchDispatchMode):
    """Notes the row counts of matrix products and the largest tensor made."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[int] = []
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_):
            self.products.append(len(args[-2]))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self.largest = max(self.largest, tensor.untyped_storage().nbytes())
        return out


def example(num: int = 7, vocab: int = 11, dim: int = 4, seed: int = 0):
    gen = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num, dim, generator=gen, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(vocab, dim, generator=gen, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(vocab, generator=gen, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, vocab, (num,), generator=gen)
    return hidden, weight, bias, targets


@pytest.mark.parametrize("chunk", [1, 2, 3, 8])
def test_golden(chunk: int) -> None:
    """One-dimensional hidden states 1, 0, -1 and output rows 0, ln 2, ln 5, so that exp(logits) is

        h =  1: 1, 2, 5      sum 8      p = 1/8, 1/4, 5/8
        h =  0: 1, 1, 1      sum 3      p = 1/3, 1/3, 1/3
        h = -1: 1, 1/2, 1/5  sum 17/10  p = 10/17, 5/17, 2/17

    Targets 2, 0, 1 have logp ln 5/8, -ln 3, ln 5/17. The gradient at the logits is [v = target] -
    p:

        -1/8  -1/4  3/8 | 2/3  -1/3  -1/3 | -10/17  12/17  -2/17

    At hidden it is that times the output rows; at the weight, (row 1) * 1 + (row 3) * -1; at the
    bias, the column sums. The first entropy is (ln 8)/8 + (ln 4)/4 + 5/8 ln 8/5.
    """
    hidden = vector([1.0, 0.0, -1.0], grad=True)
    weight = vector([0.0, LN2, LN5], grad=True)
    bias = vector([0.0, 0.0, 0.0], grad=True)
    logp, entropy = token_logprobs(
        hidden[:, None],
        weight[:, None],
        integers([2, 0, 1]),
        bias=bias,
        chunk=chunk,
        with_entropy=True,
    )
    assert entropy is not None
    logp.sum().backward()

    assert_same(logp, [math.log(5 / 8), -math.log(3), math.log(5 / 17)])
    assert_same(entropy[0], math.log(8) / 8 + math.log(4) / 4 + 5 / 8 * math.log(8 / 5))
    assert_same(entropy[1], math.log(3))
    assert hidden.grad is not None
    assert weight.grad is not None
    assert bias.grad is not None
    assert_same(hidden.grad, [-LN2 / 4 + 3 / 8 * LN5, -(LN2 + LN5) / 3, (12 * LN2 - 2 * LN5) / 17])
    assert_same(weight.grad, [-1 / 8 + 10 / 17, -1 / 4 - 12 / 17, 3 / 8 + 2 / 17])
    assert_same(
        bias.grad, [-1 / 8 + 2 / 3 - 10 / 17, -1 / 4 - 1 / 3 + 12 / 17, 3 / 8 - 1 / 3 - 2 / 17]
    )


def test_golden_entropy_gradient() -> None:
    """p = 1/4, 3/4 (logits 0, ln 3): H = ln 4 - 3/4 ln 3 and dH/dlogit_v = -p_v (log p_v + H).

    For v = 1: -3/4 (ln 3/4 + ln 4 - 3/4 ln 3) = -3/4 * 1/4 ln 3 = -3/16 ln 3; at hidden, times ln
    3.
    """
    hidden = vector([1.0], grad=True)
    weight = vector([0.0, math.log(3)])
    _, entropy = token_logprobs(hidden[:, None], weight[:, None], integers([0]), with_entropy=True)
    assert entropy is not None
    entropy.sum().backward()
    assert hidden.grad is not None
    assert_same(entropy, [math.log(4) - 0.75 * math.log(3)])
    assert_same(hidden.grad, [-3 / 16 * math.log(3) ** 2])


def test_golden_softcap() -> None:
    """Product x = 2 atanh(1/2) under softcap 2 gives logit 2 * 1/2 = 1, slope 1 - 1/4 = 3/4.

    Against a logit of 0: logp = 1 - ln(1 + e); gradient at hidden (1 - p) * 3/4 * x.
    """
    x = 2 * math.atanh(0.5)
    hidden = vector([1.0], grad=True)
    logp, _ = token_logprobs(hidden[:, None], vector([0.0, x])[:, None], integers([1]), softcap=2.0)
    logp.sum().backward()
    assert hidden.grad is not None
    assert_same(logp, [1 - math.log(1 + math.e)])
    assert_same(hidden.grad, [(1 - math.e / (1 + math.e)) * 0.75 * x])


def test_temperature_divides_and_scale_multiplies_the_logits() -> None:
    """Logits ln 9 against 0: at temperature 2 they are ln 3, p = 3/4; at scale 2, ln 81, p =
    81/82."""
    weight = vector([0.0, math.log(9)])[:, None]
    hidden = vector([1.0])[:, None]
    cooled, _ = token_logprobs(hidden, weight, integers([1]), temperature=2.0)
    scaled, _ = token_logprobs(hidden, weight, integers([1]), scale=2.0)
    assert_same(cooled, [math.log(3 / 4)])
    assert_same(scaled, [math.log(81 / 82)])


@light
@given(
    seed=st.integers(0, 10_000),
    softcap=st.sampled_from([None, 1.5]),
    temperature=st.floats(0.5, 2),
    scale=st.floats(0.5, 2),
    chunk=st.integers(1, 5),
)
def test_matches_the_reference(
    seed: int, softcap: float | None, temperature: float, scale: float, chunk: int
) -> None:
    hidden, weight, bias, targets = example(num=3, vocab=5, dim=2, seed=seed)
    logp, entropy = token_logprobs(
        hidden,
        weight,
        targets,
        bias=bias,
        temperature=temperature,
        softcap=softcap,
        scale=scale,
        chunk=chunk,
        with_entropy=True,
    )
    assert entropy is not None
    factors = weights(3)
    loss = (factors * logp).sum() + (factors.flip(0) * entropy).sum()

    def slow(flat: list[float]) -> float:
        h = [flat[0:2], flat[2:4], flat[4:6]]
        w = [flat[6 + 2 * v : 8 + 2 * v] for v in range(5)]
        total = 0.0
        for n, target in enumerate(targets.tolist()):
            logits = reference.final_logits(h[n], w, flat[16:], scale, softcap, temperature)
            log_p = reference.log_softmax(logits)
            total += float(factors[n]) * log_p[target]
            total += float(factors[2 - n]) * reference.entropy(log_p)
        return total

    flat = torch.cat([hidden.flatten(), weight.flatten(), bias]).detach().tolist()
    assert_same(loss, slow(flat))
    gradients = torch.autograd.grad(loss, (hidden, weight, bias))
    expected = reference.numeric_gradient(slow, flat)
    assert_same(torch.cat([g.flatten() for g in gradients]), expected, 1e-6)


@light
@given(num=st.integers(1, 9), chunk=st.integers(1, 10), seed=st.integers(0, 99), cap=st.booleans())
def test_chunk_size_changes_neither_value_nor_gradient(
    num: int, chunk: int, seed: int, cap: bool
) -> None:
    hidden, weight, bias, targets = example(num, seed=seed)
    factors = weights(num)
    results = []
    for size in (chunk, num):
        logp, entropy = token_logprobs(
            hidden,
            weight,
            targets,
            bias=bias,
            softcap=2.0 if cap else None,
            chunk=size,
            with_entropy=True,
        )
        assert entropy is not None
        loss = (factors * (logp + 0.3 * entropy)).sum()
        results.append((logp, entropy, *torch.autograd.grad(loss, (hidden, weight, bias))))
    for cut, whole in zip(*results, strict=True):
        torch.testing.assert_close(cut, whole, rtol=1e-10, atol=1e-12)


def test_tiles_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, _, targets = example()
    whole = token_logprobs(hidden, weight, targets)[0]
    whole_gradient = torch.autograd.grad(whole.sum(), weight)[0]
    monkeypatch.setattr(logprobs, "CPU_TILE_NUMEL", 25)  # two rows of 11 at a time
    tiled = token_logprobs(hidden, weight, targets)[0]
    torch.testing.assert_close(tiled, whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.autograd.grad(tiled.sum(), weight)[0], whole_gradient)


@pytest.mark.parametrize("chunk", [2, 3, 7])
def test_positions_with_zero_gradient_get_exactly_zero(chunk: int) -> None:
    hidden, weight, _, targets = example()
    logp, _ = token_logprobs(hidden, weight, targets, chunk=chunk)
    mask = vector([1, 0, 0, 1, 1, 0, 1])
    (logp * mask).sum().backward()
    plain = (hidden.detach() @ weight.detach().t()).softmax(-1)
    onehot = torch.nn.functional.one_hot(targets, 11)
    grad_logits = (onehot - plain) * mask[:, None]
    assert hidden.grad is not None
    assert weight.grad is not None
    assert (hidden.grad[mask == 0] == 0).all()
    torch.testing.assert_close(hidden.grad, grad_logits @ weight.detach())
    torch.testing.assert_close(weight.grad, grad_logits.t() @ hidden.detach())


@pytest.mark.parametrize("chunk", [3, 7])
def test_second_backward_through_a_retained_graph_gives_the_same(chunk: int) -> None:
    hidden, weight, _, targets = example()
    logp, _ = token_logprobs(hidden, weight, targets, chunk=chunk)
    first = torch.autograd.grad(logp.sum(), (hidden, weight), retain_graph=True)
    second = torch.autograd.grad(logp.sum(), (hidden, weight))
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)


def test_one_chunk_is_never_computed_twice() -> None:
    """One product forward; backward one for hidden, one for the weight."""
    hidden, weight, _, targets = example(num=4)
    with Recorder() as seen:
        token_logprobs(hidden, weight, targets, chunk=4)[0].sum().backward()
    assert len(seen.products) == 3


def test_frozen_head_gets_no_product_and_no_gradient() -> None:
    hidden, weight, _, targets = example(num=4)
    weight = weight.detach()
    with Recorder() as seen:
        token_logprobs(hidden, weight, targets, chunk=4)[0].sum().backward()
    assert len(seen.products) == 2
    assert weight.grad is None


def test_only_the_last_of_several_chunks_is_kept() -> None:
    """Four positions, chunks of two: two products forward, one again in backward, two for
    hidden."""
    hidden, weight, _, targets = example(num=4)
    with Recorder() as seen:
        token_logprobs(hidden, weight.detach(), targets, chunk=2)[0].sum().backward()
    assert seen.products == [2] * 5


def test_backward_computes_only_positions_with_a_gradient() -> None:
    hidden, weight, _, targets = example(num=4)
    logp, _ = token_logprobs(hidden, weight.detach(), targets, chunk=2)
    with Recorder() as seen:
        (logp * vector([0, 1, 0, 0])).sum().backward()
    assert seen.products == [1, 1]


@pytest.mark.parametrize("with_entropy", [False, True])
def test_never_holds_more_than_one_chunk_of_logits(with_entropy: bool) -> None:
    hidden, weight, _, targets = example(num=50, vocab=200)
    with Recorder() as seen:
        logp, entropy = token_logprobs(hidden, weight, targets, chunk=10, with_entropy=with_entropy)
        (logp.sum() + (0 if entropy is None else entropy.sum())).backward()
    assert seen.largest == 10 * 200 * 8


def test_low_precision_head_is_accumulated_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 inputs give the float32 result of their own values, not bfloat16 logits."""
    monkeypatch.setattr(projection, "VOCAB_TILE", 4)
    hidden, weight, _, targets = example()
    low = [x.detach().bfloat16().requires_grad_() for x in (hidden, weight)]
    high = [x.detach().float().requires_grad_() for x in low]
    logp, _ = token_logprobs(low[0], low[1], targets, chunk=3)
    expected, _ = token_logprobs(high[0], high[1], targets, chunk=3)
    assert logp.dtype == torch.float32
    torch.testing.assert_close(logp, expected, rtol=1e-6, atol=1e-6)
    logp.sum().backward()
    expected.sum().backward()
    for a, b in zip(low, high, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert a.grad.dtype == torch.bfloat16
        torch.testing.assert_close(a.grad, b.grad.bfloat16(), rtol=1e-2, atol=1e-3)


def test_autocast_does_not_lower_the_precision() -> None:
    hidden, weight, _, targets = example()
    inputs = [x.detach().float().requires_grad_() for x in (hidden, weight)]

    def run() -> tuple[Tensor, ...]:
        logp, _ = token_logprobs(*inputs, targets, chunk=3)
        return logp, *torch.autograd.grad(logp.sum(), inputs)

    plain = run()
    with torch.autocast("cpu", torch.bfloat16):
        cast = run()
    assert all(torch.equal(a, b) for a, b in zip(cast, plain, strict=True))


def test_far_unlikely_token_keeps_its_logp() -> None:
    """Logits 0 and 200: the first has probability e^-200, below float32's range, and logp -200."""
    logp, _ = token_logprobs(torch.ones(1, 1), torch.tensor([[0.0], [200.0]]), integers([0]))
    assert logp.tolist() == [-200.0]


def test_no_positions_give_zero_gradients() -> None:
    hidden, weight, bias, targets = example(num=0)
    logp, _ = token_logprobs(hidden, weight, targets, bias=bias)
    logp.sum().backward()
    assert logp.shape == (0,)
    for leaf in (weight, bias):
        assert leaf.grad is not None
        assert (leaf.grad == 0).all()


def test_entropy_is_not_computed_unless_asked() -> None:
    hidden, weight, _, targets = example()
    assert token_logprobs(hidden, weight, targets)[1] is None


def test_gradient_through_entropy_alone() -> None:
    hidden, weight, _, targets = example(num=2, vocab=3, dim=2)
    _, entropy = token_logprobs(hidden, weight.detach(), targets, with_entropy=True)
    assert entropy is not None

    def slow(flat: list[float]) -> float:
        rows = weight.tolist()
        return sum(
            reference.entropy(reference.log_softmax(reference.final_logits(h, rows)))
            for h in (flat[:2], flat[2:])
        )

    assert_gradient(entropy.sum(), hidden, slow)


@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"chunk": 0}, {"softcap": -1.0}])
def test_refuses_what_is_not_positive(bad: dict[str, float]) -> None:
    hidden, weight, _, targets = example()
    with pytest.raises(ValueError, match="must all be positive"):
        token_logprobs(hidden, weight, targets, **bad)  # type: ignore[arg-type]
