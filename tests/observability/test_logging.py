"""One line a record, in both styles, and only the package's own logger is touched."""

import io
import json
import logging
import subprocess
import sys

import pytest

from medray.errors import ConfigError
from medray.observability.logging import get_logger, setup_from_environment, setup_logging


@pytest.fixture(autouse=True)
def restored():
    logger = logging.getLogger("medray")
    kept = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = kept


def fail():
    raise RuntimeError("two\nlines")


def test_plain_is_one_line_with_extras_and_the_error():
    stream = io.StringIO()
    setup_logging(stream=stream)
    logger = get_logger("medray.actors.groups")
    logger.debug("unseen")
    logger.warning("worker %s\nleft", "r1", extra={"policy_version": 3})
    try:
        fail()
    except RuntimeError:
        logger.exception("step failed")
    first, second = stream.getvalue().splitlines()
    assert first[8:] == " WARNING actors.groups: worker r1 left policy_version=3"
    assert second[8:] == " ERROR actors.groups: step failed (RuntimeError: two lines)"


def test_plain_shows_the_traceback_at_debug():
    stream = io.StringIO()
    setup_logging("debug", stream=stream)
    try:
        fail()
    except RuntimeError:
        get_logger("medray.x").exception("step failed")
    assert "in fail" in stream.getvalue()


def test_json_is_one_object_a_line():
    stream = io.StringIO()
    setup_logging(style="json", stream=stream)
    get_logger("medray.engines").info("ready in %d s", 40, extra={"worker": "r0", "path": {1}})
    try:
        fail()
    except RuntimeError:
        get_logger("medray.engines").exception("late")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "INFO",
        "logger": "medray.engines",
        "message": "ready in 40 s",
        "worker": "r0",
        "path": "{1}",
    }
    assert second["message"] == "late"
    assert "RuntimeError: two\nlines" in second["exception"]


def test_setting_up_twice_prints_once_and_leaves_the_root_alone():
    root = logging.getLogger().handlers[:]
    first, second = io.StringIO(), io.StringIO()
    setup_logging(stream=first)
    setup_logging(stream=second)
    get_logger("medray.x").info("hello")
    assert first.getvalue() == ""
    assert second.getvalue().count("hello") == 1
    assert logging.getLogger().handlers == root


def test_names_outside_the_package_are_put_under_it():
    assert get_logger("my_rewards").name == "medray.my_rewards"
    assert get_logger("medrays").name == "medray.medrays"
    assert get_logger("medray.cli").name == "medray.cli"


def test_unknown_level_is_refused():
    with pytest.raises(ValueError, match="Unknown level"):
        setup_logging("loud")


@pytest.mark.parametrize("style", ["plain", "json"])
def test_what_libraries_add_to_every_record_is_left_out(style):
    stream = io.StringIO()
    setup_logging(style=style, stream=stream)
    get_logger("medray.x").warning("text", extra={"_stamp": 1, "step": 2})

    assert "_stamp" not in stream.getvalue()
    assert "step" in stream.getvalue()


@pytest.mark.parametrize(
    ("value", "shows_info", "is_json"),
    [("", False, False), ("INFO", True, False), ("info:json", True, True), (":json", False, True)],
)
def test_the_environment_sets_level_and_format(monkeypatch, capsys, value, shows_info, is_json):
    monkeypatch.setenv("MEDRAY_LOG", value)
    setup_from_environment("warning")
    get_logger("medray.x").info("quiet")
    get_logger("medray.x").warning("loud")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 + shows_info
    assert lines[-1].startswith("{") == is_json


@pytest.mark.parametrize("value", ["loud", "info:xml", "info:json:more"])
def test_the_environment_names_a_level_that_exists(monkeypatch, value):
    monkeypatch.setenv("MEDRAY_LOG", value)
    with pytest.raises(ConfigError, match=f"MEDRAY_LOG={value}: expected LEVEL or LEVEL:FORMAT"):
        setup_from_environment()


def test_a_redirected_descriptor_hides_nothing_and_a_replaced_stderr_is_used():
    program = """if True:
        import io, os, sys
        from medray.observability.logging import get_logger, setup_logging
        setup_logging()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        get_logger("medray.x").info("past the redirection")
        sys.stderr = io.StringIO()
        get_logger("medray.x").info("to the replacement")
        print(sys.stderr.getvalue())
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "past the redirection" in done.stderr
    assert "to the replacement" in done.stdout
    assert "to the replacement" not in done.stderr
