"""Corrections of the mismatch between engine and learner: one class per correction.

Each weights the loss of a token by a function of w = p_learner / p_engine under the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    Field,
    SerializeAsAny,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from medray.config.base import Section
from medray.config.names import nearest
from medray.config.parts import CORRECTION, Part, is_own


class _Bounded(Section):
    low: float
    high: float

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.low >= self.high:
            raise ValueError(
                f"low={self.low} is not below high={self.high}, so no token would be trained: set low below high"
            )
        return self


class Tis(Section):
    """Truncated importance sampling: min(w, high) (F. Yao et al., 2025)."""

    kind: Literal["tis"] = "tis"
    """This correction."""
    high: float = Field(default=2.0, gt=0)
    """Upper bound of a token's weight."""


class IcePop(_Bounded):
    """w where it is within the bounds, else 0 (arXiv:2510.18855)."""

    kind: Literal["icepop"] = "icepop"
    """This correction."""
    low: float = Field(default=0.5, ge=0)
    """Tokens with a smaller w are left out."""
    high: float = Field(default=5.0, gt=0)
    """Tokens with a larger w are left out."""


class SequenceMask(_Bounded):
    """1 where the geometric mean of w over the response is within the bounds, else 0 (J. Liu et al., 2025)."""

    kind: Literal["sequence_mask"] = "sequence_mask"
    """This correction."""
    low: float = Field(default=0.99, ge=0)
    """Responses with a smaller mean are left out."""
    high: float = Field(default=1.01, gt=0)
    """Responses with a larger mean are left out."""


class SequenceTis(Section):
    """min(product of w over the response, high) at each of its tokens (J. Liu et al., 2025)."""

    kind: Literal["sequence_tis"] = "sequence_tis"
    """This correction."""
    high: float = Field(default=2.0, gt=0)
    """Upper bound of a response's weight."""


class SequenceMis(_Bounded):
    """The product of w over the response where it is within the bounds, else 0 (J. Liu et al., 2025)."""

    kind: Literal["sequence_mis"] = "sequence_mis"
    """This correction."""
    low: float = Field(default=0.0, ge=0)
    """Responses with a smaller product are left out."""
    high: float = Field(default=2.0, gt=0)
    """Responses with a larger product are left out."""


KINDS: dict[str, type[Section]] = {
    "tis": Tis,
    "icepop": IcePop,
    "sequence_mask": SequenceMask,
    "sequence_tis": SequenceTis,
    "sequence_mis": SequenceMis,
}
WEIGHTS = (Tis, IcePop, SequenceTis, SequenceMis)
"""Corrections by the importance weight: at most one of them, since two would count it twice."""


def _choose(given: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """A correction by its kind, so that errors name the keys of that kind alone; several as a tuple."""
    if isinstance(given, list | tuple):
        several = cast("list[Any] | tuple[Any, ...]", given)
        chosen = tuple(_choose(one, handler) for one in several if one is not None)
        weights = [one.kind for one in chosen if isinstance(one, WEIGHTS)]
        if len(weights) > 1:
            raise ValueError(
                f"{' and '.join(weights)} each weight by the mismatch, so it would count twice: keep one of them"
            )
        return chosen if len(chosen) > 1 else chosen[0] if chosen else None
    if isinstance(given, Section):
        return given
    if isinstance(given, str):
        given = {"kind": given}
    if not isinstance(given, Mapping):
        return handler(given)
    keys = cast("Mapping[str, Any]", given)
    kind = str(keys.get("kind"))
    if kind in KINDS:
        return KINDS[kind].model_validate(keys)
    if is_own(kind):
        return Part.model_validate(keys)
    raise ValueError(f"kind={kind} is unknown{nearest(kind, KINDS)}")


Correction = Tis | IcePop | SequenceMask | SequenceTis | SequenceMis | Part
CorrectionConfig = Annotated[
    SerializeAsAny[Correction | tuple[Correction, ...] | None], WrapValidator(_choose), CORRECTION
]
"""`{kind: tis, high: 2}`, or the kind alone; your own as `package.module:name`, with `options`; or a list of several,
whose factors multiply."""


def corrections_of(config: Correction | tuple[Correction, ...] | None) -> tuple[Correction, ...]:
    """The corrections of a job, none or several, in their order."""
    if config is None:
        return ()
    return config if isinstance(config, tuple) else (config,)
