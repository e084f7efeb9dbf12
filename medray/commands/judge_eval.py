"""`medray judge-eval`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from medray.errors import DataError, GraderError


def judge_eval_command(
    config: Annotated[
        Path, typer.Argument(help="YAML file of a GRPO job, whose rewards are used.")
    ],
    rows: Annotated[
        Path,
        typer.Argument(
            help="JSON lines with question, response, label (true or false), and what the reward reads."
        ),
    ],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    part: Annotated[
        str, typer.Option(help="Part to compare with the label; at least 0.5 counts as true.")
    ] = "verifier/equivalent",
) -> None:
    """Measure how far a part of the rewards, such as a judge's verdict, agrees with labelled rows.

    Prints accuracy, Cohen's kappa, macro-F1, the rows without a verdict, and judge, templates and sampling.
    """
    from medray.config.grpo import GrpoJob
    from medray.config.loader import load_config

    job, labelled = load_config(GrpoJob, config, overrides or []), _read(rows)
    from medray.rewards.judges.agreement import agreement
    from medray.rewards.mixture import build_rewards

    rewards = build_rewards(job.rewards)
    verdicts: list[bool] = []
    labels: list[bool] = []
    failures: list[str] = []
    for where, row in labelled:
        group, label = _group(row, where)
        try:
            parts = rewards.score(group).parts
        except GraderError as error:
            failures.append(str(error))
            continue
        if part not in parts:
            raise DataError(f"--part {part}: the rewards report {', '.join(sorted(parts))}")
        verdicts.append(parts[part][0] >= 0.5)
        labels.append(label)
    if not labels:
        raise DataError(f"{rows}: no row got a verdict{': ' + failures[0] if failures else ''}")
    found: dict[str, Any] = {"part": part, **asdict(agreement(verdicts, labels))}
    found["failed"] = len(failures)
    found["first_failure"] = failures[0] if failures else None
    found["judges"] = [
        {"reward": one.name, "judge": judge.config.name, **judge.provenance, "templates": templates}
        for one in rewards.rewards
        if (judge := getattr(one.reward, "judge", None)) is not None
        and (templates := getattr(one.reward, "templates", None)) is not None
    ]
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _read(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"ROWS={path}: {error.strerror}") from None
    found: list[tuple[str, dict[str, Any]]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            raise DataError(f"{path}:{number}: not valid JSON") from None
        if not isinstance(row, dict):
            raise DataError(
                f"{path}:{number}: a row is an object with question, response and label"
            )
        found.append((f"{path}:{number}", row))
    return found


def _group(row: dict[str, Any], where: str) -> tuple[Any, bool]:
    """A labelled row as a group of one response, and its label."""
    import numpy as np

    from medray.types import Prompt, Record, Response, RolloutGroup

    given = dict(row)
    question, response, label = (given.pop(key, None) for key in ("question", "response", "label"))
    if not isinstance(question, str) or not isinstance(response, str):
        raise DataError(f"{where}: write question and response as texts")
    if label not in (True, False):
        raise DataError(f"{where}: label is {label!r}: write true or false")
    answer = str(given.pop("answer", ""))
    record = Record(
        id=where, messages=({"role": "user", "content": question},), answer=answer, extra=given
    )
    prompt = Prompt(record, np.zeros(1, np.int32))
    said = Response(np.zeros(1, np.int32), np.zeros(1, np.float32), response, "stop")
    return RolloutGroup(prompt, (said,), policy_version=0), bool(label)
