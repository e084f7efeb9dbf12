"""Algorithms by name. Adding one: a file like its neighbours here, a line in `PRESETS`, a row in docs/ALGORITHMS.md."""

from __future__ import annotations

from medray.config.algorithms.cispo import CISPO
from medray.config.algorithms.dapo import DAPO
from medray.config.algorithms.dr_grpo import DR_GRPO
from medray.config.algorithms.grpo import GRPO
from medray.config.algorithms.gspo import GSPO
from medray.config.algorithms.preset import Preset
from medray.config.algorithms.reinforce_pp import REINFORCE_PP
from medray.config.algorithms.reinforce_pp_baseline import REINFORCE_PP_BASELINE
from medray.config.algorithms.remax import REMAX
from medray.config.algorithms.rloo import RLOO

PRESETS: dict[str, Preset] = {
    "grpo": GRPO,
    "dr_grpo": DR_GRPO,
    "rloo": RLOO,
    "reinforce_pp": REINFORCE_PP,
    "reinforce_pp_baseline": REINFORCE_PP_BASELINE,
    "remax": REMAX,
    "dapo": DAPO,
    "gspo": GSPO,
    "cispo": CISPO,
}
