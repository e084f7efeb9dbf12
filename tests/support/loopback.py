"""A bare machine of its own, in namespaces, on which `ray up cluster.yaml` is tried as a user would.

Started by tests/cluster/test_loopback.py as root in new process, network and mount namespaces: `ray stop`, which
`ray up` and `ray down` run, then reaches nothing but this cluster. A second machine is a network namespace whose
cable can be pulled.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from medray.observability.metrics_file import read_metrics
from medray.observability.rollouts import read_rollouts
from tests.support.jobs import ROOT, tiny_settings

HEAD, FAR = "10.77.0.1", "10.77.0.2"
NUM_STEPS = 300
BIN = Path(sys.executable).parent
MEDRAY = [sys.executable, "-m", "medray.cli"]


class Machine:
    """This machine, as a user at a shell sees it."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.home = Path.home()
        self.runs = work / "runs"
        self.environ = os.environ | {
            "PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "MEDRAY_RUNS": str(self.runs), "PYTHONPATH": str(ROOT),
            "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token",
        }  # fmt: skip
        for name in ("RAY_ADDRESS", "RAY_TMPDIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            self.environ.pop(name, None)

    def run(self, *command: str, timeout_s: float = 300, check: bool = True) -> str:
        """Output of a command; raises with it when it fails."""
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, env=self.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=timeout_s, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        say(
            f"$ {' '.join(command)[:150]}  ({time.monotonic() - began:.1f} s, exit {done.returncode})"
        )
        if check and done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
        return done.stdout

    def start(self, *command: str, log: str) -> subprocess.Popen[bytes]:
        """A command in the background."""
        with (self.work / log).open("wb") as out:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environ,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
            )

    def bind(self, name: str) -> Path:
        """An empty folder over ~/NAME that only these namespaces see."""
        private, place = self.work / name.strip("."), self.home / name
        private.mkdir(mode=0o700)
        place.mkdir(parents=True, exist_ok=True)
        self.run("mount", "--bind", str(private), str(place))
        return place


def say(text: str) -> None:
    """A line of the story."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def wait_for(what: str, ready: Callable[[], Any], timeout_s: float = 300) -> Any:
    """Poll until `ready()` gives something."""
    end = time.monotonic() + timeout_s
    while True:
        if found := ready():
            return found
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not come within {timeout_s:.0f} s")
        time.sleep(0.2)


def prepare(machine: Machine) -> None:
    """Keys, a token, an ssh server on loopback, and the environment that set-up would install."""
    machine.run("ip", "link", "set", "lo", "up")
    machine.run("mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", "/run")
    Path("/run/sshd").mkdir()
    ssh, ray = machine.bind(".ssh"), machine.bind(".ray")
    project = machine.bind("medray")
    bashrc = machine.home / ".bashrc"
    bashrc.touch()
    (machine.work / "bashrc").write_text(bashrc.read_text())
    machine.run("mount", "--bind", str(machine.work / "bashrc"), str(bashrc))
    (machine.work / "tmpray").mkdir()
    Path("/tmp/ray").mkdir(exist_ok=True)
    machine.run("mount", "--bind", str(machine.work / "tmpray"), "/tmp/ray")
    for key in (ssh / "id_ed25519", machine.work / "host_key"):
        machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    (ssh / "authorized_keys").write_text((ssh / "id_ed25519.pub").read_text())
    (ray / "auth_token").write_text("0123456789abcdef" * 4)
    settings = f"""
        Port 22
        ListenAddress 127.0.0.1
        HostKey {machine.work}/host_key
        PidFile {machine.work}/sshd.pid
        StrictModes no
        UsePAM no
        PasswordAuthentication no
        PermitRootLogin yes
        SetEnv MEDRAY_RUNS={machine.runs}
        AuthorizedKeysFile {ssh}/authorized_keys
    """
    (machine.work / "sshd_config").write_text(
        "\n".join(line.strip() for line in settings.splitlines())
    )
    machine.run("/usr/sbin/sshd", "-f", str(machine.work / "sshd_config"))
    (project / ".venv").symlink_to(Path(sys.prefix))


def lay_cable(machine: Machine) -> int:
    """A second machine at the other end of a cable; returns the process that holds its network."""
    holder = machine.start("unshare", "--net", "sleep", "100000", log="holder.log")
    time.sleep(0.5)
    machine.run(
        "ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(holder.pid)
    )
    machine.run("ip", "addr", "add", f"{HEAD}/24", "dev", "near")
    machine.run("ip", "link", "set", "near", "up")
    machine.run("ip", "route", "add", "default", "via", FAR)
    for command in (
        ("ip", "link", "set", "lo", "up"), ("ip", "addr", "add", f"{FAR}/24", "dev", "far"),
        ("ip", "link", "set", "far", "up"), ("ip", "route", "add", "default", "via", HEAD),
    ):  # fmt: skip
        on_far(machine, holder.pid, *command)
    return holder.pid


def on_far(machine: Machine, holder: int, *command: str, check: bool = True) -> str:
    """Run a command on the second machine."""
    return machine.run("nsenter", "-t", str(holder), "-n", *command, check=check)


def ray_up(machine: Machine) -> None:
    """Again where a busy machine was slower than the 30 s that Ray gives its raylet; `ray up` may be repeated."""
    command = ("ray", "up", "-y", "--no-config-cache", str(machine.work / "cluster.yaml"))
    for attempt in range(3):
        printed = machine.run(*command, check=attempt == 2)
        if "timed out during startup" not in printed:
            say(printed[-1500:])
            return


def join(machine: Machine, holder: int) -> None:
    """The second machine joins the cluster."""
    on_far(
        machine, holder, str(BIN / "ray"), "start", f"--address={HEAD}:6379", f"--node-ip-address={FAR}",
        "--num-cpus=2", '--resources={"rollout_node": 2}',
    )  # fmt: skip


def settings_of(machine: Machine, model: Path) -> dict[str, Any]:
    """A tiny GRPO job."""
    scale = {
        "rollout_workers": 1, "learner": {"cpus": 0.5}, "rollout": {"cpus": 0.5}, "grader": {"cpus": 0},
        "placement": "spread",
    }  # fmt: skip
    return tiny_settings(
        model,
        machine.work,
        out="runs/loopback",
        num_steps=NUM_STEPS,
        scale=scale,
        checkpoint={"every": 10},
    )


def wide_awake(out: Path, job: subprocess.Popen[bytes]) -> bool:
    """The second job has taken a step, or has ended."""
    text = (out.parent.parent / "submit.log").read_text()
    return ("continued from step" in text and "\nstep " in text) or job.poll() is not None


def steps(out: Path) -> list[int]:
    """Training steps that were recorded."""
    if not (out / "metrics.jsonl").is_file():
        return []
    return [row.step for row in read_metrics(out) if row.kind == "train"]


def incidents(out: Path) -> list[dict[str, str]]:
    """What the run put into incidents.jsonl."""
    path = out / "incidents.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def check_exit_codes(machine: Machine) -> None:
    """A job's own exit code is that of `medray submit`: of success, of divergence (4), and of being stopped."""
    for code in (0, 4):
        done = machine.run(*MEDRAY, "submit", "tests/support/exit_with.py", str(code), check=False)
        assert f"this job says {code}" in done, done
        assert code == 0 or f"failed with exit code {code}" in done, done
    sleeper = machine.start(
        *MEDRAY, "submit", "tests/support/exit_with.py", "sleep", log="sleep.log"
    )
    wait_for(
        "the sleeper", lambda: "this job says" in (machine.work / "sleep.log").read_text(), 120
    )
    machine.run(*MEDRAY, "job", "stop", newest_job(machine))
    assert sleeper.wait(timeout=120) == 130


def newest_job(machine: Machine) -> str:
    """Id of the job submitted last."""
    return machine.run(*MEDRAY, "job", "list").split()[0]


def stop_and_go_on(machine: Machine, submit: list[str], out: Path) -> None:
    """A run is stopped after a checkpoint; a second job in its folder is refused while it goes on."""
    first = machine.start(*MEDRAY, *submit, log="first.log")
    wait_for("step 10", lambda: 10 in steps(out) or first.poll() is not None, 400)
    assert first.poll() is None, (machine.work / "first.log").read_text()[-3000:]
    assert "works in runs/loopback already" in machine.run(*MEDRAY, *submit, check=False)
    machine.run(*MEDRAY, "job", "stop", newest_job(machine))
    assert first.wait(timeout=120) == 130, (machine.work / "first.log").read_text()[-3000:]
    say(f"stopped after step {steps(out)[-1]}")


def check_run(out: Path) -> None:
    """The run finished exactly: every step, every prompt of the first epoch once."""
    assert steps(out) == list(range(1, NUM_STEPS + 1)), steps(out)
    rows = read_rollouts(out).to_pylist()
    assert (
        len({(r["step"], r["prompt_id"], r["sample"]) for r in rows}) == len(rows) == NUM_STEPS * 16
    )
    first = [r["prompt_id"] for r in rows if r["step"] <= 7 and r["sample"] == 0]
    assert len(set(first)) == len(first) == 28
    workers = {r["worker"] for r in rows}
    assert len(workers) >= 2, f"only {workers} sampled"


def main(work: Path, model: Path) -> None:
    """The whole story."""
    machine = Machine(work)
    prepare(machine)
    holder = lay_cable(machine)
    # As it stands, but for the three minutes of installing, which setup's own tests cover.
    text = (ROOT / "cluster.yaml").read_text()
    text = text.replace(
        "cd ~/medray && python3.11 scripts/setup.py --extra cpu", "test -x ~/medray/.venv/bin/ray"
    )
    (work / "cluster.yaml").write_text(text)
    (work / "grpo_tiny.yaml").write_text(json.dumps(settings_of(machine, model)))
    ray_up(machine)
    join(machine, holder)
    say(machine.run("ray", "status"))
    check_exit_codes(machine)
    out = machine.runs / "loopback"
    submit = [
        "submit",
        "--include",
        "tests/support",
        "jobs/grpo.py",
        "--config",
        str(work / "grpo_tiny.yaml"),
    ]
    stop_and_go_on(machine, submit, out)
    job = machine.start(*MEDRAY, *submit, log="submit.log")
    try:
        wait_for("a step", lambda: wide_awake(out, job), 400)
        machine.run(*MEDRAY, "scale", str(out), "rollouts=2", "--timeout", "200")
        step = steps(out)[-1]
        wait_for("two more steps", lambda: steps(out)[-1] >= step + 2 or job.poll() is not None)
        say("the cable is pulled")
        machine.run("ip", "link", "set", "near", "down")
        wait_for(
            "a death",
            lambda: any(i["kind"] == "death" for i in incidents(out)) or job.poll() is not None,
            200,
        )
        say(f"noticed at step {steps(out)[-1]}: {incidents(out)[-1]}")
        machine.run("ip", "link", "set", "near", "up")
        machine.run("ip", "route", "add", "default", "via", FAR, check=False)
        wait_for("the far node's end", lambda: raylets() < 2, 120)
        join(machine, holder)
        say("the cable is back")
        job.wait(timeout=600)
        say((work / "submit.log").read_text()[-3000:])
        assert job.returncode == 0, f"exit code {job.returncode}"
        check_run(out)
        say(json.dumps(incidents(out), indent=1))
        say(machine.run(*MEDRAY, "job", "list"))
    finally:
        if job.poll() is None:
            say((work / "submit.log").read_text()[-3000:])
    machine.run("ray", "down", "-y", str(work / "cluster.yaml"))
    wait_for("the end of every raylet", lambda: raylets() == 0, 60)
    say("all held")


def raylets() -> int:
    """Raylets that run in this process namespace; one that has ended and waits for its parent does not count."""
    running = psutil.process_iter(["name", "status"])
    return sum(
        p.info["name"] == "raylet" and p.info["status"] != psutil.STATUS_ZOMBIE for p in running
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
