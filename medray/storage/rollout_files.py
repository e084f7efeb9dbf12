"""`rollouts/step_00001.parquet`: what was sampled, how it was graded, what was learned from it.

One row a response. pandas, DuckDB and Ray Data read the files as they are; a resumed run that
repeats a step replaces its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medray.errors import DataError
from medray.storage.atomic import atomic_file

if TYPE_CHECKING:
    import pyarrow as pa

    from medray.types import Floats, GroupScore, RolloutGroup

ROLLOUTS_FOLDER = "rollouts"


def rollouts_path(folder: str | Path, step: int) -> Path:
    """The file of step `step` in the run folder `folder`."""
    return Path(folder, ROLLOUTS_FOLDER, f"step_{step:05d}.parquet")


def write_rollouts(
    folder: str | Path,
    step: int,
    groups: Sequence[RolloutGroup],
    scores: Sequence[GroupScore],
    advantages: Sequence[Sequence[float] | Floats] | None = None,
) -> Path:
    """Write the rollouts of one step, whole or not at all, and return the file's path.

    Args:
        folder: the run folder.
        step: training step, from 1.
        groups: [P] the groups, each with G responses.
        scores: [P] their grades.
        advantages: [P][G] what each response was trained on; None leaves the column empty.

    Raises:
        ValueError: the lengths do not match.
        ResourceError: the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = sorted({name for score in scores for name in score.parts})
    rows = list(_rows(step, groups, scores, advantages, parts))
    table = pa.Table.from_pylist(rows, schema=_schema(parts))
    path = rollouts_path(folder, step)
    with atomic_file(path, needed_bytes=table.nbytes) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return path


def read_rollouts(folder: str | Path, steps: Iterable[int] | None = None) -> pa.Table:
    """The rollouts of the run in `folder`, in step order; `.to_pandas()` makes a data frame.

    Args:
        folder: the run folder.
        steps: which steps; None takes every file there is.

    Raises:
        DataError: there is no such file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if steps is None:
        paths = sorted(Path(folder, ROLLOUTS_FOLDER).glob("step_*.parquet"))
    else:
        paths = [rollouts_path(folder, step) for step in sorted(steps)]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        wanted = missing[0] if missing else Path(folder, ROLLOUTS_FOLDER)
        raise DataError(f"{wanted} does not exist: rollouts are written with logging.rollouts=true")
    return pa.concat_tables([pq.read_table(path) for path in paths], promote_options="default")


def drop_rollouts_after(folder: str | Path, step: int) -> int:
    """Remove the files of steps beyond `step`, which a resumed run samples again; how many."""
    later = [
        path
        for path in Path(folder, ROLLOUTS_FOLDER).glob("step_*.parquet")
        if path.stem.removeprefix("step_").isdigit() and int(path.stem.removeprefix("step_")) > step
    ]
    for path in later:
        path.unlink()
    return len(later)


def _rows(
    step: int,
    groups: Sequence[RolloutGroup],
    scores: Sequence[GroupScore],
    advantages: Sequence[Sequence[float] | Floats] | None,
    parts: Sequence[str],
) -> Iterator[dict[str, Any]]:
    told = advantages if advantages is not None else [[None] * len(g.responses) for g in groups]
    for group, score, advantages_G in zip(groups, scores, told, strict=True):
        record = group.prompt.record
        graded = zip(group.responses, score.rewards, advantages_G, strict=True)
        for sample, (response, reward, advantage) in enumerate(graded):
            yield {
                "step": step,
                "prompt_id": record.id,
                "sample": sample,
                "prompt": _last_user_text(group),
                "response": response.text,
                "dialogue": [
                    {"role": str(m["role"]), "content": str(m["content"])}
                    for m in response.dialogue
                ]
                or None,
                "sampled": response.sampled,
                "token_ids": response.token_ids,
                "logprobs": response.logp,
                "finish_reason": response.finish_reason,
                "reward": reward,
                **{_column(p): score.parts[p][sample] for p in parts if p in score.parts},
                "advantage": advantage,
                "answer": record.answer,
                "policy_version": group.policy_version,
                "token_versions": response.versions,
                "worker": group.worker,
            }


def _column(part: str) -> str:
    """`reward_choice_right` for the part `choice/right`."""
    return f"reward_{part.replace('/', '_')}"


def _last_user_text(group: RolloutGroup) -> str:
    turns = [turn["content"] for turn in group.prompt.record.messages if turn["role"] == "user"]
    return turns[-1] if turns else ""


def _schema(parts: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    return pa.schema(
        [
            ("step", pa.int64()),
            ("prompt_id", text),
            ("sample", pa.int32()),
            ("prompt", text),
            ("response", text),
            ("dialogue", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("sampled", pa.list_(pa.bool_())),
            ("token_ids", pa.list_(pa.int32())),
            ("logprobs", pa.list_(pa.float32())),
            ("finish_reason", text),
            ("reward", number),
            *((_column(part), number) for part in parts),
            ("advantage", number),
            ("answer", text),
            ("policy_version", pa.int64()),
            ("token_versions", pa.list_(pa.int32())),
            ("worker", text),
        ]
    )
