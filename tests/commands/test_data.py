"""`medray data ...` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medray.commands.data import app
from medray.data.registry import SCHEMAS
from medray.errors import MedrayError
from tests.data.helpers import write_jsonl

ROOT = Path(__file__).parents[2]
CHAT = {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}


def run(*arguments: str | Path) -> list[str]:
    """Lines of a command that ends well."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def fail(*arguments: str | Path) -> tuple[list[str], MedrayError]:
    """Lines and error of a command that does not."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert isinstance(result.exception, MedrayError), result.output
    return result.output.splitlines(), result.exception


def chats(path: Path, count: int, name: str = "q") -> Path:
    rows: list[Any] = [
        {
            "patient": i // 2,
            "conversations": [
                {"from": "human", "value": f"{name}{i}"},
                {"from": "gpt", "value": "a"},
            ],
        }
        for i in range(count)
    ]
    return write_jsonl(path, *rows)


def test_list_shows_every_schema_with_its_stages() -> None:
    lines = run("list")
    assert [line.split()[0] for line in lines] == list(SCHEMAS)
    assert all(line.endswith("]") for line in lines if not line.startswith("auto"))


def test_list_shows_the_schema_of_each_file(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", CHAT)
    write_jsonl(tmp_path / "b.jsonl", {"text": "x"})
    write_jsonl(tmp_path / "c.jsonl", {"patient": 1})
    a, b, c = run("list", tmp_path)
    assert a.split() == ["sharegpt", str(tmp_path / "a.jsonl")]
    assert b.split() == ["text", str(tmp_path / "b.jsonl")]
    assert c.startswith("unknown")
    assert "no schema knows rows with the fields 'patient'" in c


def test_validate_names_every_bad_row_and_fails(tmp_path: Path) -> None:
    first = write_jsonl(tmp_path / "a.jsonl", CHAT, "{", CHAT, {"conversations": []}, CHAT)
    second = write_jsonl(tmp_path / "b.jsonl", {"text": "x"}, {"text": " "})
    lines, error = fail("validate", first, second)
    assert lines == [
        f"{first}:2: bad JSON: Expecting property name enclosed in double quotes at column 2;"
        " write one JSON object a line",
        f"{first}:4: empty value: 'conversations' has no turn; fill it in or remove the row",
        f"{second}:2: empty value: 'text' is blank; fill it in or remove the row",
        f"{first}: sharegpt, 5 rows, 3 good, 2 bad (1 bad JSON; 1 empty value)",
        f"{second}: text, 2 rows, 1 good, 1 bad (1 empty value)",
    ]
    assert str(error) == "3 of 7 rows are bad: fix the problems listed above"
    assert error.exit_code == 2


def test_validate_goes_on_after_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"text": "x"},\n {"text": }]')
    write_jsonl(tmp_path / "b.jsonl", {"text": "x"})
    lines, error = fail("validate", tmp_path)
    assert lines[0].startswith(f"{tmp_path / 'a.json'}:2: bad JSON: Expecting value")
    assert lines[1:] == [
        f"{tmp_path / 'a.json'}: text, 1 rows, 1 good, 0 bad (not readable to the end)",
        f"{tmp_path / 'b.jsonl'}: text, 1 rows, 1 good",
    ]
    assert str(error) == "1 of 2 files cannot be read to the end: fix the problems listed above"


def test_validate_for_a_stage(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", CHAT, {"conversations": CHAT["conversations"][:1]})
    assert run("validate", path) == [f"{path}: sharegpt, 2 rows, 2 good"]
    lines, _ = fail("validate", path, "--stage", "sft")
    assert lines[0].startswith(f"{path}:2: unfit for sft: it has no assistant turn")
    _, error = fail("validate", path, "--stage", "dpo")
    assert str(error) == "--stage dpo: use one of pt, sft, preference, kto, process, rl"


def test_validate_finds_repeated_ids(tmp_path: Path) -> None:
    row = {"question": "q", "answer": "a", "id": "x"}
    path = write_jsonl(tmp_path / "a.jsonl", row, row)
    lines, _ = fail("validate", path)
    assert lines[0] == f"{path}:2: repeated id: 'x' is also at {path}:1; make ids unique"


def test_validate_what_is_generated() -> None:
    [line] = run("validate", "--kind", "icd10-text", "--set", "num_train=5", "--set", "num_eval=2")
    assert line == "icd10-text: icd10-text, 7 rows, 7 good"


def test_stats_as_json(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", CHAT, CHAT, {"conversations": []})
    numbers = json.loads("\n".join(run("stats", path, "--json")))
    assert numbers["rows"] == 3
    assert numbers["bad_rows"] == {"empty value": 1}
    assert numbers["records"] == 2
    assert numbers["repeated_records"] == 1
    assert numbers["roles"] == {"assistant": 2, "user": 2}
    assert len(numbers["sha256"]["a.jsonl"]) == 64


def test_stats_for_people(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", CHAT)
    lines = [" ".join(line.split()) for line in run("stats", path)]
    assert "rows 1" in lines
    assert "bad rows none" in lines
    assert "turns min 2 median 2 p90 2 p99 2 max 2 mean 2" in lines
    assert "assistant 1" in lines


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_convert_and_back(tmp_path: Path, name: str) -> None:
    path = chats(tmp_path / "a.jsonl", 5)
    assert run("convert", path, "--out", tmp_path / name) == [
        f"{tmp_path / name}: 5 rows of {path}"
    ]
    run("convert", path, "--out", tmp_path / "direct.jsonl")
    run("convert", tmp_path / name, "--out", tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "direct.jsonl").read_bytes()
    row = json.loads((tmp_path / "again.jsonl").read_text().splitlines()[0])
    assert row["medray"] == 1
    assert row["messages"] == [
        {"role": "user", "content": "q0"},
        {"role": "assistant", "content": "a"},
    ]


def test_convert_stops_at_a_bad_row_unless_told_otherwise(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", CHAT, "{")
    out = tmp_path / "out.jsonl"
    _, error = fail("convert", path, "--out", out)
    assert "a.jsonl:2: bad JSON" in str(error)
    assert not out.exists()
    lines = run("convert", path, "--out", out, "--set", "on_bad_row=skip")
    assert lines[0] == f"{out}: 1 rows of {path}"
    assert lines[1].startswith("skipped 1 (bad JSON, e.g. ")


def test_convert_several_datasets_into_one(tmp_path: Path) -> None:
    first, second = chats(tmp_path / "a.jsonl", 2, "a"), chats(tmp_path / "b.jsonl", 3, "b")
    run("convert", first, second, "--out", tmp_path / "out.jsonl")
    ids = [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert ids == ["0/a.jsonl:1", "0/a.jsonl:2", "1/b.jsonl:1", "1/b.jsonl:2", "1/b.jsonl:3"]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_split_by_group(tmp_path: Path) -> None:
    path = chats(tmp_path / "a.jsonl", 60)
    lines = run(
        "split", path, "--out", tmp_path / "s", "--num-eval", "11", "--set", "group_key=patient"
    )
    assert lines == ["train.jsonl: 48 rows in 24 groups", "held_out.jsonl: 12 rows in 6 groups"]
    train, held_out = rows_of(tmp_path / "s/train.jsonl"), rows_of(tmp_path / "s/held_out.jsonl")
    assert not {r["group_id"] for r in train} & {r["group_id"] for r in held_out}
    assert len({r["id"] for r in (*train, *held_out)}) == 60
    manifest = json.loads((tmp_path / "s/split.json").read_text())
    assert manifest["held_out"] == {"file": "held_out.jsonl", "rows": 12, "groups": 6}
    assert manifest["seed"] == 17
    assert manifest["shared_prompts"] == 0
    again = tmp_path / "again"
    run("split", path, "--out", again, "--num-eval", "11", "--set", "group_key=patient")
    assert (again / "train.jsonl").read_bytes() == (tmp_path / "s/train.jsonl").read_bytes()
    run(
        "split",
        path,
        "--out",
        again,
        "--num-eval",
        "11",
        "--set",
        "group_key=patient",
        "--set",
        "seed=3",
    )
    assert rows_of(again / "held_out.jsonl") != held_out


def test_a_split_is_read_back_as_a_dataset(tmp_path: Path) -> None:
    run("split", chats(tmp_path / "a.jsonl", 40), "--out", tmp_path / "s", "--fraction", "0.25")
    lines = run("validate", tmp_path / "s")
    assert [line.split(": ")[1].split(",")[0] for line in lines] == ["medray", "medray"]
    assert sum(int(line.split(", ")[1].split()[0]) for line in lines) == 40


def test_split_says_when_groups_hold_the_same_question(tmp_path: Path) -> None:
    rows = [{**CHAT, "patient": i} for i in range(10)]
    path = write_jsonl(tmp_path / "a.jsonl", *rows)
    lines = run(
        "split", path, "--out", tmp_path / "s", "--num-eval", "2", "--set", "group_key=patient"
    )
    assert "1 held-out prompts also stand in training groups" in lines
    assert lines[-1].startswith("1 of 1 held-out answers also stand in training rows")


def test_split_keeps_an_official_one(tmp_path: Path) -> None:
    article = {"QUESTION": "Q?", "CONTEXTS": ["c"], "final_decision": "yes"}
    (tmp_path / "ori_pqal.json").write_text(json.dumps({str(i): article for i in range(10, 20)}))
    (tmp_path / "test_ground_truth.json").write_text(json.dumps({"12": "yes", "15": "yes"}))
    run("split", tmp_path / "ori_pqal.json", "--out", tmp_path / "s", "--num-eval", "5")
    assert [row["id"] for row in rows_of(tmp_path / "s/held_out.jsonl")] == ["12", "15"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "pass either --num-eval or --fraction to say how much to hold out"),
        (["--num-eval", "1", "--fraction", "0.1"], "say how much to hold out"),
        (
            ["--num-eval", "1", "--format", "csv"],
            "--format csv: use one of jsonl, jsonl.gz, parquet",
        ),
        (["--num-eval", "9"], "the split has 0 training rows and 3 held-out rows in 3 groups"),
        (["--num-eval", "1", "--set", "sede=1"], "unknown key sede: did you mean seed?"),
    ],
)
def test_split_refuses(tmp_path: Path, arguments: list[str], message: str) -> None:
    path = chats(tmp_path / "a.jsonl", 3)
    _, error = fail("split", path, "--out", tmp_path / "s", *arguments)
    assert message in str(error)
    assert not (tmp_path / "s" / "train.jsonl").exists()


def test_a_path_with_a_quote_in_it(tmp_path: Path) -> None:
    (tmp_path / "patient's, [x]").mkdir()
    path = write_jsonl(tmp_path / "patient's, [x]" / "a: b.jsonl", CHAT)
    assert run("validate", path) == [f"{path}: sharegpt, 1 rows, 1 good"]


def test_nothing_named() -> None:
    _, error = fail("validate")
    assert str(error).startswith(
        "pass a file, a folder or a dataset id, or a --kind that reads none: icd10"
    )


def test_checking_a_file_loads_nothing_heavy(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", CHAT)
    heavy = ("torch", "ray", "vllm", "transformers", "datasets", "pyarrow")
    code = (
        "import sys\n"
        f"sys.argv = ['medray', 'data', 'validate', {str(path)!r}]\n"
        "from medray.cli import main\n"
        "try:\n    main()\n"
        f"finally:\n    print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout == f"{path}: sharegpt, 1 rows, 1 good\n"
    assert ran.stderr.strip() == "[]"
