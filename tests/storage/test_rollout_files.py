"""Rollout files: values survive, files are replaced whole, pandas and pyarrow read them."""

import math

import numpy as np
import pytest

from medray.errors import DataError
from medray.storage.rollout_files import (
    drop_rollouts_after,
    read_rollouts,
    rollouts_path,
    write_rollouts,
)
from medray.types import GroupScore, Prompt, Record, Response, RolloutGroup

pytest.importorskip("pyarrow")


def group(name, texts, version=2):
    messages = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"What is {name}?"},
    )
    record = Record(id=name, messages=messages, answer="B")
    responses = tuple(
        Response(
            np.arange(len(text), dtype=np.int32),
            np.full(len(text), -0.5, dtype=np.float32),
            text,
            "stop" if len(text) < 5 else "length",
        )
        for text in texts
    )
    prompt = Prompt(record, np.array([7, 8], dtype=np.int32))
    return RolloutGroup(prompt, responses, version, worker="rollout_0")


GROUPS = (group("J45", ["B", "Asthma é"]), group("I10", ["", "B"]))
SCORES = (
    GroupScore((1.0, 0.25), {"choice/right": (1.0, 0.0), "stopped": (1.0, 0.0)}),
    GroupScore((0.0, 1.0), {"choice/right": (0.0, 1.0)}),
)
ADVANTAGES = [[0.375, -0.375], [-0.5, 0.5]]


def test_a_row_a_response(tmp_path):
    path = write_rollouts(tmp_path, 1, GROUPS, SCORES, ADVANTAGES)
    assert path == tmp_path / "rollouts" / "step_00001.parquet"
    rows = read_rollouts(tmp_path).to_pylist()
    assert len(rows) == 4
    assert rows[1] == {
        "step": 1,
        "prompt_id": "J45",
        "sample": 1,
        "prompt": "What is J45?",
        "response": "Asthma é",
        "dialogue": None,
        "sampled": None,
        "token_ids": list(range(8)),
        "logprobs": [-0.5] * 8,
        "finish_reason": "length",
        "reward": 0.25,
        "reward_choice_right": 0.0,
        "reward_stopped": 0.0,
        "advantage": -0.375,
        "answer": "B",
        "policy_version": 2,
        "token_versions": None,
        "worker": "rollout_0",
    }
    assert rows[2]["token_ids"] == []
    assert rows[2]["reward_stopped"] is None
    assert [row["advantage"] for row in rows] == [0.375, -0.375, -0.5, 0.5]


def test_pandas_and_ray_style_readers_see_the_same(tmp_path):
    pd = pytest.importorskip("pandas")
    path = write_rollouts(tmp_path, 1, GROUPS, SCORES)
    frame = pd.read_parquet(path)
    assert frame.reward.tolist() == [1.0, 0.25, 0.0, 1.0]
    assert frame.token_ids[1].dtype == np.int32
    assert all(math.isnan(value) for value in frame.advantage)


def test_the_same_step_is_replaced_and_leaves_no_rest(tmp_path):
    write_rollouts(tmp_path, 3, GROUPS, SCORES, ADVANTAGES)
    write_rollouts(tmp_path, 3, GROUPS[:1], SCORES[:1], ADVANTAGES[:1])
    assert read_rollouts(tmp_path).num_rows == 2
    assert [path.name for path in (tmp_path / "rollouts").iterdir()] == ["step_00003.parquet"]


def test_equal_rollouts_are_equal_files(tmp_path):
    one = write_rollouts(tmp_path / "a", 1, GROUPS, SCORES, ADVANTAGES).read_bytes()
    two = write_rollouts(tmp_path / "b", 1, GROUPS, SCORES, ADVANTAGES).read_bytes()
    assert one == two


def test_steps_are_read_in_order_with_differing_parts(tmp_path):
    write_rollouts(tmp_path, 10, GROUPS[1:], SCORES[1:])
    write_rollouts(tmp_path, 2, GROUPS[:1], SCORES[:1])
    table = read_rollouts(tmp_path)
    assert table["step"].to_pylist() == [2, 2, 10, 10]
    assert table["reward_stopped"].to_pylist() == [1.0, 0.0, None, None]
    assert read_rollouts(tmp_path, [10])["prompt_id"].to_pylist() == ["I10", "I10"]


def test_mismatched_lengths_write_nothing(tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        write_rollouts(tmp_path, 1, GROUPS, SCORES[:1])
    with pytest.raises(ValueError, match="shorter"):
        write_rollouts(tmp_path, 1, GROUPS[:1], [GroupScore((1.0,))])
    assert not rollouts_path(tmp_path, 1).exists()


def test_missing_rollouts_are_named(tmp_path):
    with pytest.raises(DataError, match=r"rollouts does not exist"):
        read_rollouts(tmp_path)
    write_rollouts(tmp_path, 1, GROUPS, SCORES)
    with pytest.raises(DataError, match=r"step_00004\.parquet"):
        read_rollouts(tmp_path, [1, 4])


def test_later_steps_are_dropped_on_resume(tmp_path):
    for step in (1, 2, 3):
        write_rollouts(tmp_path, step, GROUPS, SCORES)
    assert drop_rollouts_after(tmp_path, 1) == 2
    assert set(read_rollouts(tmp_path)["step"].to_pylist()) == {1}
    assert drop_rollouts_after(tmp_path / "new", 0) == 0
