"""Unpaired preferences: `{"prompt": text or messages, "completion": text or messages, "label": true}`.

Also `{"messages": [...], "label": true}`, `{"conversations": [...], "kto_tag": false}`, where the label is that of the
last answer, and LLaMA-Factory's `{"instruction", "input", "output", "kto_tag"}`.
"""

from __future__ import annotations

from typing import Any

from medray.config.data import DataConfig
from medray.data.parsing.fields import Fields
from medray.data.parsing.roles import by_role, normal, option_columns
from medray.data.parsing.view import View
from medray.data.schema import RowSchema
from medray.data.schemas.prompt_completion import ASKED, answer_turns
from medray.data.schemas.sharegpt import chat_record
from medray.data.source import RowError
from medray.types import Record

_LABELS = {"true": True, "1": True, "false": False, "0": False}
_OWN_NAME = "ktotag"
_OTHER = {"options", "key", "answers", "chosen", "rejected", "winner", "parent"}
"""Roles beside which a label is of another kind."""


def parse_kto(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One prompt with one continuation, desirable or not."""
    view = View(row)
    label = _label(view)
    prompt = view.prompt(config)
    if "answer" in view:
        completion = answer_turns(view, "answer", row, config)
    elif prompt[-1]["role"] != "assistant":
        raise RowError("not an answer", "the last turn must be the assistant's, which is labelled")
    else:
        prompt, completion = prompt[:-1], prompt[-1:]
    if not prompt or prompt[-1]["role"] in ("assistant", "system"):
        raise RowError("answered prompt", "the prompt must end with the user's or a tool's turn")
    return chat_record(
        row,
        where,
        prompt,
        task="preference",
        chosen=completion if label else (),
        rejected=() if label else completion,
    )


def _label(view: View) -> bool:
    key, value = view.column("label"), view.value("label")
    label = _LABELS.get(str(value).strip().lower())
    if label is None or isinstance(value, float):
        raise RowError("unknown label", f"{key!r} is {str(value)[:40]!r}; write true or false")
    return label


def _matches(row: Fields) -> bool:
    roles = by_role(row)
    labels = roles.get("label", [])
    if len(labels) != 1 or roles.keys() & _OTHER or option_columns(row):
        return False
    is_asked = "question" in roles or "input" in roles
    if "messages" not in roles and not (is_asked and "answer" in roles):
        return False
    [name] = labels
    if normal(name) == _OWN_NAME or {"prompt", "completion", "label"} <= row.keys():
        return True
    value = row[name]  # of 0 and 1 under a general name, nobody can say what is classified
    return isinstance(value, bool) or str(value).strip().lower() in ("true", "false")


SCHEMA = RowSchema(
    name="kto",
    summary="prompt, completion and whether it is desirable",
    stages=("kto", "sft", "rl"),
    matches=_matches,
    parse=parse_kto,
    reads=ASKED | {"messages", "answer", "reasoning", "label", "tools"},
)
