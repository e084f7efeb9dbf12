"""Algorithms by name.

Adding one: a file like its neighbors here, a line in `ALGORITHMS`, a row in docs/ALGORITHMS.md.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import SerializeAsAny, ValidatorFunctionWrapHandler, WrapValidator

from medray.config.algorithms.base import AlgorithmConfig
from medray.config.algorithms.cispo import Cispo
from medray.config.algorithms.dapo import Dapo
from medray.config.algorithms.distill import Distillation
from medray.config.algorithms.dppo import Dppo
from medray.config.algorithms.dr_grpo import DrGrpo
from medray.config.algorithms.gdpo import Gdpo
from medray.config.algorithms.gmpo import Gmpo
from medray.config.algorithms.grpo import Grpo
from medray.config.algorithms.gspo import Gspo
from medray.config.algorithms.opo import Opo
from medray.config.algorithms.pass_at_k import PassAtK
from medray.config.algorithms.reinforce_pp import ReinforcePp
from medray.config.algorithms.reinforce_pp_baseline import ReinforcePpBaseline
from medray.config.algorithms.remax import Remax
from medray.config.algorithms.rloo import Rloo
from medray.config.algorithms.sapo import Sapo
from medray.config.names import nearest, resolve_name
from medray.config.parts import ByKind, is_own
from medray.errors import ConfigError

ALGORITHMS: dict[str, type[AlgorithmConfig]] = {
    "grpo": Grpo,
    "dr_grpo": DrGrpo,
    "rloo": Rloo,
    "reinforce_pp": ReinforcePp,
    "reinforce_pp_baseline": ReinforcePpBaseline,
    "remax": Remax,
    "opo": Opo,
    "pass_at_k": PassAtK,
    "gdpo": Gdpo,
    "dapo": Dapo,
    "gspo": Gspo,
    "gmpo": Gmpo,
    "cispo": Cispo,
    "sapo": Sapo,
    "dppo": Dppo,
    "distill": Distillation,
}
if TYPE_CHECKING:
    _Registered = AlgorithmConfig
else:  # for the JSON schema and the list of known keys
    _Registered = functools.reduce(operator.or_, ALGORITHMS.values())
_Choose = Callable[[Any, ValidatorFunctionWrapHandler], Any]


def algorithm_class(kind: str) -> type[AlgorithmConfig]:
    """The class of a registered algorithm, or of your own as `package.module:ClassName`.

    Raises:
        ConfigError: there is none, it cannot be imported, or it is no `AlgorithmConfig`.
    """
    if kind in ALGORITHMS:
        return ALGORITHMS[kind]
    if not is_own(kind):
        raise ConfigError(f"{kind!r} is unknown{nearest(kind, ALGORITHMS)}")
    found: Any = resolve_name(kind, {}, key="kind")
    if not (isinstance(found, type) and issubclass(found, AlgorithmConfig)):
        raise ConfigError(
            f"kind={kind} is not an algorithm: derive a class from one in medray.config.algorithms"
        )
    return found


def checked_algorithm(given: Mapping[str, Any], *, default: str = "grpo") -> AlgorithmConfig:
    """Plain values as the configuration of the algorithm that their `kind` names.

    Raises:
        ConfigError: the kind is unknown.
        ValidationError: a key or value is wrong.
    """
    kind = str(given.get("kind", default))
    return algorithm_class(kind).model_validate({**given, "kind": kind})


def _by_kind(default: str) -> ByKind:
    return ByKind(lambda given: algorithm_class(str(given.get("kind", default))))


def _chosen(default: str) -> _Choose:
    """Validate by the class that `kind` names, so that errors name the keys of that class alone."""

    def choose(given: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if isinstance(given, AlgorithmConfig):
            return given
        if not isinstance(given, Mapping):
            return handler(given)
        try:
            return checked_algorithm(cast("Mapping[str, Any]", given), default=default)
        except ConfigError as error:
            raise ValueError(str(error)) from error

    return choose


Algorithm = Annotated[SerializeAsAny[_Registered], WrapValidator(_chosen("grpo")), _by_kind("grpo")]
"""`{kind: grpo, ...}`: the algorithms above, or your own class; without a kind it is GRPO."""
TaughtAlgorithm = Annotated[
    SerializeAsAny[_Registered], WrapValidator(_chosen("distill")), _by_kind("distill")
]
"""The same; without a kind it is distillation alone."""
