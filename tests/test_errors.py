"""The error of ours that other errors wrap is found."""

from __future__ import annotations

from ray.exceptions import RayTaskError

from medray.errors import DataError, ModelError, known_cause


def _raised_from(error: Exception, cause: BaseException | None) -> Exception:
    error.__cause__ = cause
    return error


def test_the_first_of_ours_is_found_behind_others() -> None:
    ours = DataError("a row is bad")
    assert known_cause(ours) is ours
    outer = _raised_from(RuntimeError("x"), _raised_from(ValueError("y"), ours))
    assert known_cause(outer) is ours
    assert known_cause(_raised_from(ModelError("outer"), ours)).args == ("outer",)


def test_rays_wrapper_is_taken_off() -> None:
    ours = DataError("a row is bad")
    wrapper = RayTaskError("read", "Traceback ...", ours).as_instanceof_cause()
    assert isinstance(wrapper, DataError)
    assert known_cause(_raised_from(RuntimeError("stage failed"), wrapper)) is ours


def test_none_of_ours() -> None:
    assert known_cause(_raised_from(RuntimeError("x"), ValueError("y"))) is None
