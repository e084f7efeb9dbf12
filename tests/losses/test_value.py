from golden import reference
from golden.compare import assert_gradient, assert_same, light, vector, weights
from hypothesis import assume, given
from hypothesis import strategies as st

from medray.losses.value import clipped_value_loss

number = st.floats(-2, 2)
rows = st.lists(st.tuples(number, number, number), min_size=1, max_size=5)


def test_golden() -> None:
    """Clip 0.2; V, V_old, R, then V_old + clip(V - V_old):

    1     0.9  2  near 1    max(1, 1)        loss 0.5   gradient V - R = -1
    2     1    0  near 1.2  max(4, 1.44)     loss 2     gradient 2
    1.5   1    2  near 1.2  max(0.25, 0.64)  loss 0.32  gradient 0, clipped
    0     1    2  near 0.8  max(4, 1.44)     loss 2     gradient -2
    """
    values = vector([1.0, 2.0, 1.5, 0.0], grad=True)
    loss, clipped = clipped_value_loss(
        values, vector([0.9, 1.0, 1.0, 1.0]), vector([2.0, 0.0, 2.0, 2.0]), 0.2
    )
    loss.sum().backward()
    assert values.grad is not None
    assert_same(loss, [0.5, 2.0, 0.32, 2.0])
    assert_same(values.grad, [-1.0, 2.0, 0.0, -2.0])
    assert clipped.tolist() == [False, False, True, False]


def test_golden_without_clip() -> None:
    """(1.5 - 2)^2 / 2 = 0.125, gradient -0.5."""
    values = vector([1.5], grad=True)
    loss, clipped = clipped_value_loss(values, vector([1.0]), vector([2.0]), None)
    loss.sum().backward()
    assert values.grad is not None
    assert_same(loss, [0.125])
    assert_same(values.grad, [-0.5])
    assert clipped.tolist() == [False]


@light
@given(rows=rows, clip=st.floats(0.1, 1))
def test_matches_the_reference(rows, clip) -> None:
    for value, old, target in rows:  # away from kinks
        near = reference.clip(value, old - clip, old + clip)
        assume(abs(abs(value - old) - clip) > 1e-3)
        assume(near == value or abs((value - target) ** 2 - (near - target) ** 2) > 1e-3)
    new, old, target = (list(c) for c in zip(*rows, strict=True))
    factors = weights(len(rows)).tolist()
    values = vector(new, grad=True)
    loss, clipped = clipped_value_loss(values, vector(old), vector(target), clip)
    total = (vector(factors) * loss).sum()

    def slow(at: list[float]) -> float:
        cells = zip(factors, at, old, target, strict=True)
        return sum(w * reference.clipped_value(v, o, r, clip) for w, v, o, r in cells)

    assert_same(total, slow(new))
    assert_gradient(total, values, slow)
    total.backward()
    assert values.grad is not None
    assert (values.grad[clipped] == 0).all()


@light
@given(rows=rows, clip=st.floats(0.1, 1))
def test_clip_never_lowers_the_loss(rows, clip) -> None:
    new, old, target = (vector(list(c)) for c in zip(*rows, strict=True))
    bounded, _ = clipped_value_loss(new, old, target, clip)
    plain, _ = clipped_value_loss(new, old, target, None)
    assert (bounded >= plain).all()
