import math

import pytest
import torch
from golden import reference
from golden.compare import assert_gradient, assert_same, light, vector, weights
from hypothesis import given
from hypothesis import strategies as st

from medray.losses.distill import distill_loss, top_distill_loss

NAMES = ["forward_kl", "reverse_kl", "jsd"]
LN = math.log


def example(num: int = 5, seed: int = 0):
    gen = torch.Generator().manual_seed(seed)
    shapes = [(num, 2), (4, 2), (num, 3), (4, 3)]
    tensors = [torch.randn(s, generator=gen, dtype=torch.float64) for s in shapes]
    return [x.requires_grad_() for x in tensors]


BY_HAND = [
    ("forward_kl", LN(0.5) / 4 + 3 / 4 * LN(1.5), 0.25),
    ("reverse_kl", LN(2) / 2 + LN(2 / 3) / 2, LN(3) / 4),
    (
        "jsd",
        (LN(2 / 3) / 4 + 3 / 4 * LN(6 / 5)) / 2 + (LN(4 / 3) / 2 + LN(4 / 5) / 2) / 2,
        LN(5 / 3) / 8,
    ),
]


@pytest.mark.parametrize(("name", "value", "slope"), BY_HAND)
def test_golden(name, value, slope) -> None:
    """Student S = 1/2, 1/2; teacher T = 1/4, 3/4 (logits 0, ln 3); mixture 3/8, 5/8. At the first
    logit:

    forward: 1/4 ln 1/2 + 3/4 ln 3/2, gradient S - T = 1/4.
    reverse: 1/2 ln 2 + 1/2 ln 2/3, gradient S (ln S/T - KL) = 1/2 (ln 2 - (ln 2 + ln 2/3)/2) = 1/4
        ln 3.
    jsd: (1/4 ln 2/3 + 3/4 ln 6/5)/2 + (1/2 ln 4/3 + 1/2 ln 4/5)/2; with g = 1/2 ln S/M the gradient
        is S (g - mean g) = 1/2 * 1/2 * 1/2 (ln 4/3 - ln 4/5) = 1/8 ln 5/3.

    The student's head has rows 1 and 0, so the first logit is the hidden state itself.
    """
    hidden = vector([0.0], grad=True)
    loss = distill_loss(
        hidden[:, None],
        vector([1.0, 0.0])[:, None],
        vector([1.0])[:, None],
        vector([0.0, LN(3)])[:, None],
        divergence=name,
    )
    loss.sum().backward()
    assert hidden.grad is not None
    assert_same(loss, [value])
    assert_same(hidden.grad, [slope])


@pytest.mark.parametrize(("name", "value", "slope"), BY_HAND)
def test_golden_of_a_teacher_known_in_part(name, value, slope) -> None:
    """Student 1/2, 1/4, 1/4 (logits ln 2 + x, 0, 0 at x = 0); of the teacher only that the first token has 1/4.

    The outcomes "first" and "another" are S = 1/2, 1/2 and T = 1/4, 3/4: the example above, and so is the slope.
    """
    hidden = torch.tensor([[0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    head = torch.tensor([[1.0, LN(2)], [0.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    ids, logp = torch.tensor([[0]]), torch.tensor([[LN(0.25)]], dtype=torch.float64)
    loss = top_distill_loss(hidden, head, ids, logp, divergence=name)
    loss.sum().backward()
    assert hidden.grad is not None
    assert_same(loss, [value])
    assert_same(hidden.grad[:, 0], [slope])


def likeliest(teacher, head, top: int):
    """What `top_distill_loss` is told of a teacher."""
    known = (teacher @ head.t()).log_softmax(-1).detach().topk(top)
    return known.indices, known.values


@light
@given(
    seed=st.integers(0, 1000), name=st.sampled_from(NAMES), beta=st.floats(0.1, 0.9),
    chunk=st.integers(1, 6),
)  # fmt: skip
def test_a_teacher_known_but_for_one_token_is_known(seed, name, beta, chunk) -> None:
    student, head, teacher, teacher_head = example(seed=seed)
    whole = distill_loss(student, head, teacher, teacher_head, divergence=name, beta=beta)
    known = likeliest(teacher, teacher_head, 3)
    part = top_distill_loss(student, head, *known, divergence=name, beta=beta, chunk=chunk)
    assert_same(part, whole.tolist())
    for got, expected in zip(
        torch.autograd.grad(part.sum(), (student, head)),
        torch.autograd.grad(whole.sum(), (student, head)),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


@light
@given(seed=st.integers(0, 1000), name=st.sampled_from(NAMES), top=st.integers(1, 2))
def test_what_is_told_apart_less_differs_less(seed, name, top) -> None:
    student, head, teacher, teacher_head = (x.detach() * 2 for x in example(seed=seed))
    known = [likeliest(teacher, teacher_head, k) for k in (top, top + 1)]
    few, more = (top_distill_loss(student, head, *k, divergence=name) for k in known)
    assert (few >= -1e-12).all()
    assert (few <= more + 1e-12).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_teacher_sure_of_its_tokens_gives_finite_losses(name) -> None:
    student, head, _, _ = example()
    ids = torch.zeros(5, 1, dtype=torch.int64)
    loss = top_distill_loss(student, head, ids, torch.zeros(5, 1), divergence=name)
    (slope,) = torch.autograd.grad(loss.sum(), student)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(slope).all()


@light
@given(
    seed=st.integers(0, 1000), name=st.sampled_from(NAMES), beta=st.floats(0.1, 0.9),
    chunk=st.integers(1, 4), temperature=st.floats(0.5, 2),
)  # fmt: skip
def test_matches_the_reference(seed, name, beta, chunk, temperature) -> None:
    student, head, teacher, teacher_head = example(num=3, seed=seed)
    factors = weights(3)
    loss = distill_loss(
        student,
        head,
        teacher,
        teacher_head,
        divergence=name,
        beta=beta,
        temperature=temperature,
        chunk=chunk,
    )

    def row(hidden, weight) -> list[float]:
        return reference.log_softmax(
            reference.final_logits(hidden, weight, temperature=temperature)
        )

    def slow(flat: list[float]) -> float:
        return sum(
            float(factors[n])
            * reference.divergence(
                row(flat[2 * n : 2 * n + 2], [flat[6 + 2 * v : 8 + 2 * v] for v in range(4)]),
                row(teacher[n].tolist(), teacher_head.tolist()),
                name,
                beta,
            )
            for n in range(3)
        )

    total = (factors * loss).sum()
    flat = torch.cat([student.flatten(), head.flatten()]).detach().tolist()
    assert_same(total, slow(flat))
    gradients = torch.autograd.grad(total, (student, head))
    assert_same(
        torch.cat([g.flatten() for g in gradients]), reference.numeric_gradient(slow, flat), 1e-6
    )


@pytest.mark.parametrize("name", NAMES)
def test_chunk_size_changes_neither_value_nor_gradient(name) -> None:
    inputs = example()
    results = []
    for chunk in (2, 5):
        loss = distill_loss(*inputs, divergence=name, chunk=chunk)
        results.append((loss, *torch.autograd.grad(loss.sum(), inputs[:2])))
    for cut, whole in zip(*results, strict=True):
        torch.testing.assert_close(cut, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_teacher_gets_no_gradient_and_its_copy_no_loss(name) -> None:
    student, head, teacher, teacher_head = example()
    distill_loss(student, head, teacher, teacher_head, divergence=name).sum().backward()
    assert teacher.grad is None
    assert teacher_head.grad is None
    own = distill_loss(student, head, student.detach(), head.detach(), divergence=name)
    (slope,) = torch.autograd.grad(own.sum(), student)
    assert_same(own, [0.0] * 5)
    assert_same(slope.flatten(), [0.0] * 10)


def test_jsd_is_symmetric_at_one_half_and_bounded_by_ln_2() -> None:
    student, head, teacher, teacher_head = (x.detach() * 20 for x in example())
    forward = distill_loss(student, head, teacher, teacher_head, divergence="jsd")
    swapped = distill_loss(teacher, teacher_head, student, head, divergence="jsd")
    torch.testing.assert_close(forward, swapped)
    assert (forward <= LN(2) + 1e-12).all()
    assert (forward >= 0).all()


def test_no_positions() -> None:
    loss = distill_loss(*example(num=0))
    loss.sum().backward()
    assert loss.shape == (0,)


@pytest.mark.parametrize("bad", [{"beta": 0.0}, {"beta": 1.0}, {"temperature": 0.0}, {"chunk": 0}])
def test_refuses_arguments_out_of_range(bad) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        distill_loss(*example(), **bad)


def test_gradient_at_one_position_only_touches_it() -> None:
    student, head, teacher, teacher_head = example()
    loss = distill_loss(student, head, teacher, teacher_head, chunk=2)
    (slope,) = torch.autograd.grad(loss[3], student, retain_graph=True)
    assert (slope[[0, 1, 2, 4]] == 0).all()
    assert (slope[3] != 0).all()
    assert_gradient(
        loss[3],
        student,
        lambda flat: reference.divergence(
            reference.log_softmax(reference.final_logits(flat[6:8], head.tolist())),
            reference.log_softmax(
                reference.final_logits(teacher[3].tolist(), teacher_head.tolist())
            ),
            "forward_kl",
            0.5,
        ),
    )
