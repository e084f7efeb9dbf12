"""Whole or absent: failures, kills and full disks leave the old file as it was."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from medray.errors import ResourceError
from medray.storage.atomic import atomic_file, explain_full_disk, replace_dir, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_write_makes_folders_and_replaces(tmp_path):
    target = tmp_path / "a" / "b" / "config.json"
    write_text(target, "first")
    write_text(target, "zweite Größe")
    assert target.read_bytes() == "zweite Größe".encode()
    assert names(target.parent) == ["config.json"]


def test_a_failing_block_leaves_the_old_file_and_no_rest(tmp_path):
    target = tmp_path / "f"
    write_text(target, "old")

    def half():
        with atomic_file(target) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["f"]


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    target = tmp_path / "f"
    code = (
        "import itertools, sys\n"
        "from medray.storage.atomic import write_text\n"
        "for n in itertools.count():\n"
        "    write_text(sys.argv[1], str(n % 10) * 200_000)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(target)])
    while not target.exists():
        time.sleep(0.01)
    time.sleep(0.1)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    text = target.read_text()
    assert len(text) == 200_000
    assert len(set(text)) == 1


def test_replace_dir_swaps_whole_folders(tmp_path):
    for version in ("one", "two"):
        fresh = tmp_path / f"tmp_{version}"
        (fresh / "sub").mkdir(parents=True)
        (fresh / f"{version}.txt").write_text(version)
        (fresh / "sub" / "x").write_text(version)
        replace_dir(fresh, tmp_path / "step_1")
    assert names(tmp_path) == ["step_1"]
    assert names(tmp_path / "step_1") == ["sub", "two.txt"]
    assert (tmp_path / "step_1" / "sub" / "x").read_text() == "two"


def test_replace_dir_puts_the_old_folder_back_when_the_new_one_is_missing(tmp_path):
    (tmp_path / "step_1").mkdir()
    (tmp_path / "step_1" / "kept").touch()
    with pytest.raises(FileNotFoundError):
        replace_dir(tmp_path / "nothing", tmp_path / "step_1")
    assert names(tmp_path) == ["step_1"]
    assert names(tmp_path / "step_1") == ["kept"]


@pytest.mark.parametrize(
    ("code", "why"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk quota is used up")],
)
def test_a_full_disk_is_one_line_with_path_and_sizes(tmp_path, code, why):
    def write():
        with explain_full_disk(tmp_path / "step_3" / "w.bin", needed_bytes=3 * 2**30):
            raise OSError(code, os.strerror(code))

    with pytest.raises(ResourceError) as caught:
        write()
    message = str(caught.value)
    assert message.startswith(f"cannot write {tmp_path}/step_3/w.bin: {why}, 3.0 GiB needed, ")
    assert f"free on {tmp_path};" in message
    assert "\n" not in message


def test_a_really_full_device_leaves_the_old_file(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    target = tmp_path / "f"
    write_text(target, "old")

    def onto_full_device():
        with atomic_file(target) as temporary:
            os.symlink("/dev/full", temporary)
            temporary.write_text("new")

    with pytest.raises(ResourceError, match="the disk is full"):
        onto_full_device()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["f"]


def test_other_errors_pass_unchanged(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises((NotADirectoryError, FileExistsError)):
        write_text(tmp_path / "file" / "below", "x")
