"""Dataset schemas by name.

Add a schema: one file under `medray/data/schemas/`, one line in `SCHEMAS`.
"""

from __future__ import annotations

from typing import Any, cast

from medray.config.names import resolve_name
from medray.data.source import Schema
from medray.errors import ConfigError

_HERE = "medray.data.schemas"
SCHEMAS: dict[str, str] = {
    "icd10": f"{_HERE}.icd10:read_icd10",
    "icd10-sft": f"{_HERE}.icd10_sft:read_icd10_sft",
    "icd10-text": f"{_HERE}.icd10_text:read_icd10_text",
    "icd10-preference": f"{_HERE}.icd10_preference:read_icd10_preference",
    "icd10-steps": f"{_HERE}.icd10_steps:read_icd10_steps",
    "calculators": f"{_HERE}.calculators:read_calculators",
    "calculators-zh": f"{_HERE}.calculators:read_calculators_zh",
    "auto": "medray.data.detection:read_auto",
    # From here on in the order in which detection tries them: of two that know a row, the more particular first.
    "medray": f"{_HERE}.canonical:SCHEMA",
    "healthbench": f"{_HERE}.rubrics:HEALTHBENCH",
    "rar": f"{_HERE}.rubrics:RAR",
    "medcalc": f"{_HERE}.medcalc:SCHEMA",
    "huatuo-o1-sft": f"{_HERE}.huatuo_o1:SFT",
    "huatuo-o1-verifiable": f"{_HERE}.huatuo_o1:VERIFIABLE",
    "huatuogpt": f"{_HERE}.huatuogpt:SCHEMA",
    "huatuo-26m": f"{_HERE}.huatuo26m:SCHEMA",
    "verl": f"{_HERE}.verl:SCHEMA",
    "prm800k": f"{_HERE}.prm800k:SCHEMA",
    "math-shepherd": f"{_HERE}.math_shepherd:SCHEMA",
    "steps": f"{_HERE}.steps:SCHEMA",
    "preference": f"{_HERE}.preference:SCHEMA",
    "response-pair": f"{_HERE}.response_pair:SCHEMA",
    "preference-messages": f"{_HERE}.preference_messages:SCHEMA",
    "kto": f"{_HERE}.kto:SCHEMA",
    "ultramedical": f"{_HERE}.ultramedical:SCHEMA",
    "sharegpt": f"{_HERE}.sharegpt:SCHEMA",
    "openai": f"{_HERE}.openai:SCHEMA",
    "alpaca": f"{_HERE}.alpaca:SCHEMA",
    "pubmedqa": f"{_HERE}.pubmedqa:read_pubmedqa",
    "pubmedqa-hub": f"{_HERE}.pubmedqa:HUB",
    "medmcqa": f"{_HERE}.medmcqa:HUB",
    "medmcqa-original": f"{_HERE}.medmcqa:ORIGINAL",
    "medqa": f"{_HERE}.medqa:MEDQA",
    "medqa-hub": f"{_HERE}.medqa:MEDQA_HUB",
    "medxpertqa": f"{_HERE}.medqa:MEDXPERTQA",
    "mmlu": f"{_HERE}.medqa:MMLU",
    "cmb": f"{_HERE}.cmb:CMB",
    "cmb-clin": f"{_HERE}.cmb:CMB_CLIN",
    "cmexam": f"{_HERE}.cmb:CMEXAM",
    "medreason": f"{_HERE}.medreason:SCHEMA",
    "medquad": f"{_HERE}.medquad:SCHEMA",
    "zh-dialogue": f"{_HERE}.zh_dialogue:SCHEMA",
    "choice": f"{_HERE}.choice:SCHEMA",
    "choice-shuffled": f"{_HERE}.choice:SHUFFLED",
    # From here on the general ones, which know fields by what they are for.
    "message-tree": f"{_HERE}.message_tree:SCHEMA",
    "message-tree-pairs": f"{_HERE}.message_tree:PAIRS",
    "ranked": f"{_HERE}.ranked:SCHEMA",
    "pair": f"{_HERE}.pair:SCHEMA",
    "dialogue": f"{_HERE}.dialogue:SCHEMA",
    "qa": f"{_HERE}.qa:SCHEMA",
    "prompt-completion": f"{_HERE}.prompt_completion:SCHEMA",
    "prompt-only": f"{_HERE}.prompt_completion:PROMPTS",
    "transcript": f"{_HERE}.dialogue:TRANSCRIPT",
    "text": f"{_HERE}.text:SCHEMA",
}


def find_schema(kind: str) -> Schema:
    """The schema registered as `kind`, or found at `package.module:name`.

    Raises:
        ConfigError: nothing of that name; the text holds the nearest registered one.
    """
    schema: Any = resolve_name(kind, SCHEMAS, key="data.kind", known="a name of `medray data list`")
    if callable(schema):
        return cast(Schema, schema)
    raise ConfigError(f"data.kind={kind} is not callable: a schema is a function of DataConfig")
