"""Dr. GRPO: GRPO without the two divisions that favour long wrong answers and prompts of little spread.

A = r - mean(r of the group);  loss = sum over tokens / (responses * max_new_tokens)
"""

from medray.config.algorithms.preset import Preset

DR_GRPO = Preset(
    title="Dr. GRPO",
    paper="2503.20783",
    keys={"advantage": "group", "advantage_scale": "none", "aggregation": "fixed"},
)
