"""Dataset schemas by name, and the one way a name or a dotted path becomes an object.

Add a schema: one file under `medray/data/schemas/`, one line in `SCHEMAS`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, cast

from medray.config.loader import validated
from medray.data.source import Schema
from medray.errors import ConfigError

_HERE = "medray.data.schemas"
SCHEMAS: dict[str, str] = {
    "icd10": f"{_HERE}.icd10:read_icd10",
    "icd10-sft": f"{_HERE}.icd10_sft:read_icd10_sft",
    "icd10-text": f"{_HERE}.icd10_text:read_icd10_text",
    "icd10-preference": f"{_HERE}.icd10_preference:read_icd10_preference",
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
    "qa": f"{_HERE}.qa:SCHEMA",
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


def resolve_name(
    name: str, registered: Mapping[str, str], *, key: str, known: str | None = None
) -> Any:
    """Import what `name` stands for: an entry of `registered`, or itself a `package.module:name`.

    Args:
        name: what the user wrote.
        registered: short name -> `package.module:name`, imported only when asked for.
        key: the configuration key that held it, for the error text.
        known: what to say of the registered names in place of all of them.

    Raises:
        ConfigError: the name is unknown or its module or attribute cannot be imported.
    """
    path = registered.get(name, name)
    module_name, colon, attribute = path.partition(":")
    if not colon:
        raise ConfigError(f"{key}={name} is unknown{_nearest(name, registered, known)}")
    if not module_name or not attribute or module_name.startswith("."):
        raise ConfigError(f"{key}={name} is not of the form package.module:name")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise ConfigError(
            f"{key}={name}: importing {module_name} failed with {type(error).__name__}: {error}"
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{key}={name}: {module_name} has no {attribute}")
        found = getattr(found, part)
    return found


def make_named(
    kind: str, options: Mapping[str, Any], registered: Mapping[str, str], *, key: str
) -> Any:
    """Make an object of the class that `kind` names, from options that its `Options` model checks where it has one.

    Args:
        kind: as `resolve_name` takes it.
        options: what the user wrote; keyword arguments of a class without `Options`.
        registered: as `resolve_name` takes it.
        key: the configuration key that holds `kind` and `options`.

    Raises:
        ConfigError: unknown kind, or an unknown or bad option.
    """
    make: Any = resolve_name(kind, registered, key=f"{key}.kind")
    if not callable(make):
        raise ConfigError(f"{key}.kind={kind} is not a class")
    if (model := getattr(make, "Options", None)) is not None:
        return make(validated(model, options, within=f"{key}.options"))
    try:
        return make(**options)
    except Exception as error:  # a user's class may raise anything
        raise ConfigError(f"{key}: {kind} could not be made: {error}") from error


def _nearest(name: str, registered: Mapping[str, str], known: str | None) -> str:
    guess = difflib.get_close_matches(name, registered, n=1, cutoff=0.5)
    shown = known or f"one of {', '.join(registered)}"
    names = f"{shown}, or your own as package.module:name"
    return f": did you mean {guess[0]}? ({names})" if guess else f": use {names}"
