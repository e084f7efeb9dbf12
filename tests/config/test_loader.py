"""The loader: YAML and overrides in, a frozen configuration or one line a mistake out."""

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medray.config.grpo import GrpoJob
from medray.config.loader import dump_config, load_config
from medray.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "jobs" / "configs" / "grpo_smollm2_cpu.yaml"


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str) -> Path:
        path = tmp_path / "job.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def message_of(path: Path | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(GrpoJob, path, overrides)
    return str(caught.value)


def test_values_come_from_the_file_then_from_overrides(write):
    path = write("num_steps: 7\noptim: {lr: 1e-4}\n")

    job = load_config(GrpoJob, path, ["optim.lr=2e-5", "rollout.max_new_tokens=4"])

    assert job.num_steps == 7
    assert job.optim.lr == 2e-5
    assert job.rollout.max_new_tokens == 4
    assert job.optim.schedule == "constant"  # untouched default


def test_no_file_gives_the_defaults():
    assert load_config(GrpoJob) == GrpoJob()


def test_an_empty_file_gives_the_defaults(write):
    assert load_config(GrpoJob, write("# nothing\n")) == GrpoJob()


def test_a_whole_block_can_be_set_and_unset_by_override():
    job = load_config(GrpoJob, None, ["model.lora={rank: 4, alpha: 8}", "data.num_train=null"])

    assert job.model.lora is not None
    assert job.model.lora.rank == 4
    assert job.data.num_train is None


def test_a_list_item_is_reached_by_its_index(write):
    path = write("rewards:\n- {kind: choice}\n- {kind: choice, weight: 2}\n")

    job = load_config(GrpoJob, path, ["rewards.1.weight=0.5"])

    assert [reward.weight for reward in job.rewards] == [1.0, 0.5]


def test_an_index_past_the_end_is_refused(write):
    path = write("rewards:\n- {kind: choice}\n")

    assert "'3' is not an index of a list of 1" in message_of(path, "rewards.3.weight=1")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optim.lrr=1", "unknown key optim.lrr: did you mean optim.lr?"),
        ("optm.lr=1", "did you mean optim?"),
        ("lr=1", "did you mean optim.lr?"),
        ("max_new_tokens=4", "max_new_tokens?"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(override, expected):
    message = message_of(None, override)

    assert message.startswith("unknown key ")
    assert expected in message
    assert "\n" not in message


def test_a_nonsense_key_gets_no_suggestion():
    assert message_of(None, "zzqqxx=1") == "unknown key zzqqxx"


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("num_steps=0", ["num_steps", "greater than or equal to 1", "(got 0)"]),
        ("num_steps=many", ["num_steps", "integer", "(got 'many')"]),
        ("optim.lr=-1", ["optim.lr", "(got -1)"]),
        ("model.dtype=fp8", ["model.dtype", "'float32'", "(got 'fp8')"]),
        ("rollout.temperature=0", ["rollout", "temperature above 0"]),
        ("rollout.samples_per_prompt=1", ["rollout.samples_per_prompt=1", "2 or more"]),
    ],
)
def test_a_bad_value_is_one_line_with_key_and_value(override, parts):
    message = message_of(None, override)

    assert "\n" not in message
    for part in parts:
        assert part in message


def test_each_mistake_has_its_own_line():
    lines = message_of(None, "num_steps=0", "optim.lrr=1").splitlines()

    assert len(lines) == 2
    assert {line.split(":")[0] for line in lines} == {"num_steps", "unknown key optim.lrr"}


@pytest.mark.parametrize("key", ["num_steps", "optim.lr", "data.num_train", "model.path"])
def test_a_bool_for_a_number_or_a_text_is_refused(key):
    assert "got true/false" in message_of(None, f"{key}=on")


@pytest.mark.parametrize("text", ["true", "on", "yes"])
def test_a_bool_for_a_bool_is_taken(text):
    assert load_config(GrpoJob, None, [f"deterministic={text}"]).deterministic is True


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "absent.yaml"

    assert message_of(path) == f"config file {path} does not exist"


def test_a_folder_is_not_a_file(tmp_path):
    assert "is a folder" in message_of(tmp_path)


def test_invalid_yaml_names_file_and_line(write):
    path = write("num_steps: 3\noptim: {lr: 1\nout: x\n")

    message = message_of(path)

    assert message.startswith(f"{path}:3: not valid YAML")
    assert "\n" not in message


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")

    assert "not valid YAML" in message_of(path)


def test_a_list_at_the_top_is_refused(write):
    assert "must be a mapping of keys to values, not a list" in message_of(write("- 1\n"))


@pytest.mark.parametrize("override", ["optim.lr", "=3"])
def test_an_override_without_key_or_value_is_refused(override):
    assert "is not of the form key=value" in message_of(None, override)


def test_an_override_that_is_not_yaml_is_refused():
    assert "the value is not valid YAML" in message_of(None, "model.lora={rank: ")


def test_the_example_survives_a_round_trip():
    job = load_config(GrpoJob, EXAMPLE)

    assert GrpoJob.model_validate_json(dump_config(job)) == job
    assert json.loads(dump_config(job))["rewards"][0]["options"]["right"] == 0.6


def test_a_configuration_survives_pickling():
    job = load_config(GrpoJob, EXAMPLE)

    assert pickle.loads(pickle.dumps(job)) == job


@given(
    lr=st.floats(0, 1, allow_subnormal=False),
    steps=st.integers(1, 10**9),
    out=st.text(
        st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
    ).filter(str.strip),
)
def test_dump_and_load_give_the_same_values(lr, steps, out):
    job = GrpoJob.model_validate({"optim": {"lr": lr}, "num_steps": steps, "out": out})

    assert GrpoJob.model_validate_json(dump_config(job)) == job


def test_a_configuration_cannot_be_changed():
    job = GrpoJob()

    with pytest.raises(ValueError, match="frozen"):
        job.num_steps = 3  # type: ignore[misc]


def test_errors_survive_pickling():
    with pytest.raises(ConfigError) as caught:
        load_config(GrpoJob, None, ["nmu_steps=1"])

    copy = pickle.loads(pickle.dumps(caught.value))

    assert type(copy) is ConfigError
    assert str(copy) == str(caught.value)
