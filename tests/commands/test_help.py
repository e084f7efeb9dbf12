"""Every `--help` shows every word of what the code says about the command, its arguments and its options."""

from __future__ import annotations

import pytest

from tests.support.command import MEDRAY, ROOT, medray_here, script_here

JOBS = sorted(path.name for path in (ROOT / "jobs").glob("*.py"))


def one_line(text: str | None) -> str:
    """`text` without line breaks, those after a hyphen included."""
    return " ".join((text or "").split()).replace("- ", "-")


@pytest.mark.parametrize("names", MEDRAY, ids=" ".join)
def test_a_command_shows_its_help_in_full(names: tuple[str, ...]) -> None:
    command = MEDRAY[names]
    page = one_line(medray_here(*names, "--help").stdout)

    assert one_line(command.help)
    assert one_line(command.help) in page
    for parameter in command.params:
        assert one_line(parameter.help) in page, parameter.name
        assert one_line(parameter.metavar) in page, parameter.name


@pytest.mark.parametrize("names", [n for n in MEDRAY if hasattr(MEDRAY[n], "commands")], ids=" ".join)  # fmt: skip
def test_a_group_shows_the_first_sentence_of_every_command(names: tuple[str, ...]) -> None:
    page = one_line(medray_here(*names, "--help").stdout)

    for name, command in MEDRAY[names].commands.items():
        assert f"{name} {one_line(command.get_short_help_str(limit=10_000))}" in page


@pytest.mark.parametrize("script", JOBS)
def test_a_job_shows_its_command_line(script: str) -> None:
    outcome = script_here(str(ROOT / "jobs" / script), "--help")

    assert outcome.code == 0
    assert f"python jobs/{script} --config " in one_line(outcome.stdout)
    assert "[key=value ...]" in one_line(outcome.stdout)
    named = one_line(outcome.stdout).split("--config ")[1].split()[0]
    assert named == "FILE" or (ROOT / named).is_file()
