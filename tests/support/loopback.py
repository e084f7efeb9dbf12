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

from medray.storage.rollout_files import read_rollouts
from tests.support.jobs import ROOT, tiny_settings
from tests.support.running import train_rows
from tests.support.supervised import supervised_settings

HEAD, FAR = "10.77.0.1", "10.77.0.2"
ENDLESS, MORE_STEPS = 100_000, 5
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
    """A second machine at the other end of a cable, with a /tmp/ray of its own; returns a process that runs on it."""
    (machine.work / "farray").mkdir()
    own = f"mount --bind {machine.work}/farray /tmp/ray && touch {machine.work}/far && exec sleep 100000"
    holder = machine.start("unshare", "--net", "--mount", "sh", "-c", own, log="holder.log")
    wait_for("the second machine", (machine.work / "far").exists, 20)
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
    return machine.run("nsenter", "-t", str(holder), "-n", "-m", *command, check=check)


def patiently(machine: Machine, *command: str) -> str:
    """Run again where a busy machine was slower than the 30 s that Ray gives a raylet to start."""
    for _ in range(2):
        try:
            return machine.run(*command)
        except SystemExit as failure:
            if "timed out during startup" not in str(failure):
                raise
    return machine.run(*command)


def write_cluster(machine: Machine) -> Path:
    """cluster.yaml as it stands, but for the minutes of installing, and a name for the head to pin the learner to."""
    text = (ROOT / "cluster.yaml").read_text()
    for old, new in {
        "cd ~/medray && python3.11 scripts/setup.py --extra cpu": "test -x ~/medray/.venv/bin/ray",
        "ray start --head": "ray start --head --resources='{\"learner_node\": 1}'",
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    path = machine.work / "cluster.yaml"
    path.write_text(text)
    return path


def join(machine: Machine, holder: int) -> None:
    """The second machine joins the cluster."""
    patiently(
        machine, "nsenter", "-t", str(holder), "-n", "-m", str(BIN / "ray"), "start", f"--address={HEAD}:6379",
        f"--node-ip-address={FAR}", "--num-cpus=2", '--resources={"rollout_node": 2}',
    )  # fmt: skip


def settings_of(machine: Machine, model: Path) -> dict[str, Any]:
    """A tiny GRPO job: the learner on the head, rollout workers spread over both machines."""
    workers = {
        "learner": {"cpus": 0.5, "custom": {"learner_node": 1}}, "rollout": {"cpus": 0.5},
        "grader": {"cpus": 0}, "placement": "spread",
    }  # fmt: skip
    return tiny_settings(
        model, machine.work, out="runs/loopback", num_steps=ENDLESS, workers=workers, checkpoint={"every": 5},
        deadlines={"start_s": 600},
    )  # fmt: skip


def steps(out: Path) -> list[int]:
    """Training steps that were recorded."""
    if not (out / "metrics.jsonl").is_file():
        return []
    return [row.step for row in train_rows(out)]


def incidents(out: Path) -> list[dict[str, str]]:
    """What the run put into incidents.jsonl."""
    path = out / "incidents.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def raylets() -> int:
    """Raylets that run in this process namespace; one that has ended and waits for its parent does not count."""
    running = psutil.process_iter(["name", "status"])
    return sum(
        p.info["name"] == "raylet" and p.info["status"] != psutil.STATUS_ZOMBIE for p in running
    )


def samplers(holder: int) -> int:
    """Rollout workers that run on the second machine, which is known by its network."""
    far, found = os.readlink(f"/proc/{holder}/ns/net"), 0
    for process in psutil.process_iter(["cmdline"]):
        try:
            network = os.readlink(f"/proc/{process.pid}/ns/net")
        except OSError:
            continue  # it has ended
        found += network == far and "RolloutActor" in " ".join(process.info["cmdline"] or ())
    return found


def newest_job(machine: Machine) -> str:
    """Id of the job submitted last."""
    return machine.run(*MEDRAY, "job", "list").split()[0]


def check_exit_codes(machine: Machine, model: Path) -> None:
    """A job's own exit code is that of `medray submit`: of success, of a failure, of divergence, of being stopped."""
    settings = supervised_settings("sft", model, machine.work, out="runs/diverged")
    (machine.work / "sft_tiny.yaml").write_text(json.dumps(settings | {"optim": {"lr": 1e30}}))
    diverging = machine.start(
        *MEDRAY, "submit", "jobs/sft.py", "--config", str(machine.work / "sft_tiny.yaml"), log="sft.log"
    )  # fmt: skip
    jobs = {
        said: machine.start(
            *MEDRAY, "submit", "tests/support/exit_with.py", said, log=f"exit-{said}.log"
        )
        for said in ("0", "3", "sleep")
    }
    for said in ("0", "3"):
        code, printed = jobs[said].wait(300), (machine.work / f"exit-{said}.log").read_text()
        assert code == int(said), printed
        assert f"this job says {said}" in printed, printed
        assert said == "0" or "failed with exit code 3" in printed, printed
    log = machine.work / "exit-sleep.log"
    wait_for("the sleeper", lambda: "this job says" in log.read_text())
    [name] = [word for word in log.read_text().split() if word.startswith("raysubmit_")][:1]
    machine.run(*MEDRAY, "job", "stop", name)
    assert jobs["sleep"].wait(timeout=120) == 130
    code, printed = diverging.wait(300), (machine.work / "sft.log").read_text()
    assert code == 4, f"exit code {code}:\n{printed[-4000:]}"
    say(f"exit codes 0, 3, 130 and 4 came through; the last lines of the latter:\n{printed[-600:]}")


class Job:
    """A run that was submitted and is followed."""

    def __init__(self, machine: Machine, command: list[str], out: Path, log: str) -> None:
        self.out, self.log = out, machine.work / log
        self.process = machine.start(*command, log=log)

    def until(self, what: str, ready: Callable[[], Any], timeout_s: float = 400) -> None:
        """Wait for something that the run does; raises with its output when it ends before."""
        wait_for(what, lambda: ready() or self.process.poll() is not None, timeout_s)
        if not ready():
            raise SystemExit(f"the job ended before {what}:\n{self.log.read_text()[-4000:]}")

    def until_further(self, num_steps: int) -> None:
        """Wait for so many more steps."""
        last = steps(self.out)[-1] + num_steps
        self.until(f"step {last}", lambda: steps(self.out)[-1] >= last)

    def end(self, code: int, timeout_s: float = 400) -> str:
        """Its output, once it has ended with that exit code."""
        got, printed = self.process.wait(timeout_s), self.log.read_text()
        assert got == code, f"exit code {got}, not {code}:\n{printed[-4000:]}"
        return printed


def cut_off_and_back(machine: Machine, holder: int, job: Job) -> None:
    """The second machine's cable is pulled and put back while the run goes on."""
    assert samplers(holder) > 0, "the second machine has no rollout worker"
    say("the cable is pulled")
    machine.run("ip", "link", "set", "near", "down")
    job.until("a death", lambda: any(i["kind"] == "death" for i in incidents(job.out)))
    say(f"noticed at step {steps(job.out)[-1]}: {incidents(job.out)[-1]}")
    job.until_further(2)
    machine.run("ip", "link", "set", "near", "up")
    machine.run("ip", "route", "add", "default", "via", FAR, check=False)
    job.until("the far raylet's end", lambda: raylets() < 2)
    join(machine, holder)
    say("the cable is back, and the second machine in the cluster")


def check_run(out: Path, num_steps: int) -> None:
    """The run finished exactly: every step, and every prompt of each epoch once."""
    assert steps(out) == list(range(1, num_steps + 1)), steps(out)
    rows = read_rollouts(out).to_pylist()
    samples = {(r["step"], r["prompt_id"], r["sample"]) for r in rows}
    assert len(samples) == len(rows) == num_steps * 16
    for first in range(1, num_steps - 6, 7):  # 28 prompts, 4 a step
        epoch = {r["prompt_id"] for r in rows if first <= r["step"] < first + 7}
        assert len(epoch) == 28, f"steps {first} to {first + 6} trained on {len(epoch)} prompts"
    assert {r["worker"] for r in rows} >= {"rollout-0", "rollout-1"}
    say(f"{num_steps} steps, {len(rows)} samples, none lost and none twice")


def main(work: Path, model: Path) -> None:
    """The whole story."""
    machine = Machine(work)
    prepare(machine)
    holder = lay_cable(machine)
    cluster = write_cluster(machine)
    (work / "grpo_tiny.yaml").write_text(json.dumps(settings_of(machine, model)))
    say(patiently(machine, "ray", "up", "-y", "--no-config-cache", str(cluster))[-1200:])
    join(machine, holder)
    say(machine.run("ray", "status"))
    check_exit_codes(machine, model)

    out = machine.runs / "loopback"
    config = str(work / "grpo_tiny.yaml")
    submit = [*MEDRAY, "submit", "--include", "tests/support", "jobs/grpo.py", "--config", config]
    job = Job(machine, submit, out, "first.log")
    job.until("step 2", lambda: 2 in steps(out))
    assert "is already running in runs/loopback" in machine.run(*submit, check=False)
    machine.run(*MEDRAY, "scale", str(out), "rollouts=2", "--timeout", "300")
    job.until_further(2)
    cut_off_and_back(machine, holder, job)
    job.until_further(5)
    machine.run(*MEDRAY, "job", "stop", newest_job(machine))
    job.end(130)
    say(f"stopped after step {steps(out)[-1]}: {json.dumps(incidents(out), indent=1)}")

    num_steps = steps(out)[-1] + MORE_STEPS
    again = ["python", "jobs/grpo.py", "--config", config, f"num_steps={num_steps}"]
    job = Job(
        machine, ["ray", "job", "submit", "--working-dir", ".", "--", *again], out, "second.log"
    )
    job.until("a worker on the machine that was away", lambda: samplers(holder) > 0)
    printed = job.end(0)
    say(printed[-3000:])
    assert "continued from step" in printed
    check_run(out, num_steps)
    say(machine.run(*MEDRAY, "job", "list"))
    startup = json.loads((out / "startup.json").read_text())
    say(json.dumps(startup, indent=1))
    assert startup["phases_s"]["submit"] > 0
    assert startup["actors_over_slowest"] >= 1

    machine.run("ray", "down", "-y", str(cluster))
    wait_for("the end of every raylet", lambda: raylets() == 0, 60)
    say("all held")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
