import pytest
from golden.compare import light
from hypothesis import given
from hypothesis import strategies as st

from medray.losses.kl_control import KlControl


def test_golden() -> None:
    """Target 6, gain 1/10: at 6.6 nats the error is 1/10, so 0.2 * 1.01; at 20 it is cut to 1/5, so 0.2 * 1.02."""
    control = KlControl(0.2, target=6.0, gain=0.1)
    assert control.after(6.6).coef == pytest.approx(0.202)
    assert control.after(20.0).coef == pytest.approx(0.204)
    assert control.after(0.0).coef == pytest.approx(0.196)


@light
@given(observed=st.floats(-1, 100))
def test_without_a_target_it_stays(observed) -> None:
    assert KlControl(0.2).after(observed) == KlControl(0.2)


@light
@given(observed=st.floats(-1, 100), target=st.floats(0.1, 50), gain=st.floats(0.01, 1))
def test_it_moves_towards_the_target_and_never_far(observed, target, gain) -> None:
    after = KlControl(1.0, target, gain).after(observed).coef
    assert abs(after - 1) <= 0.2 * gain + 1e-12
    assert (after - 1) * (observed - target) >= 0
