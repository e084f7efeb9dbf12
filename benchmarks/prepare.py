"""How fast does a million chats become shards, in how much memory, and when can training begin?

python -m benchmarks.prepare --rows 1000000 --train     (make setup first)
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.record import ROOT, write_record
from medray.data.prepared.manifest import Manifest, is_prepared, read_manifest
from medray.storage.metrics_file import MetricRow, read_metrics

REPEAT_EVERY = 50
"""One row in so many says again what an earlier one said, one word changed."""
STEPS = 2
STEP_ROWS = 2
ROW_TOKENS = 1024
_SAMPLE_S = 0.5


def main(
    rows: Annotated[int, typer.Option(min=100, help="Generated chats.")] = 1_000_000,
    model: Annotated[
        str, typer.Option(help="Tokenizer, and what the step trains.")
    ] = "smollm2-135m",
    workers: Annotated[int | None, typer.Option(help="Tokenising processes.")] = None,
    train: Annotated[
        bool, typer.Option(help="Start jobs/sft.py as soon as there is a folder.")
    ] = False,
    folder: Annotated[Path | None, typer.Option(help="Where rows and shards go; kept.")] = None,
    stop_after_s: Annotated[
        float | None, typer.Option(help="Stop then; the same command with --folder goes on.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the JSON.")] = Path("benchmarks/results"),
) -> None:
    """Prepare generated chats, and print rows a second, peak memory by process, and when the first step ended."""
    with tempfile.TemporaryDirectory() as temporary:
        base = (folder or Path(temporary)).absolute()
        base.mkdir(parents=True, exist_ok=True)
        chats = write_chats(base / "chats.jsonl", rows)
        spent = Spent(base / "spent.json")
        given = [f"out={base / 'prepared'}", f"data.path={chats}", f"model.path={model}",
                 "duplicates={threshold: 0.8}", "layout.kind=pack", f"layout.row_tokens={ROW_TOKENS}"]  # fmt: skip
        if workers is not None:
            given.append(f"workers.tokenizer.count={workers}")
        log = base / "prepare.log"
        began = time.monotonic()
        with log.open("a") as stream:
            process = start("prepare_data", stream, *given)
            memory = PeakMemory(process.pid)
            try:
                if train and not spent.step:
                    spent.step = first_step(base, model, began, stream)
                left = None if stop_after_s is None else began + stop_after_s - time.monotonic()
                process.wait(left)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                process.wait()
        peaks = memory.stop()
        spent.add((memory.ended or time.monotonic()) - began, peaks)
        manifest = read_manifest(base / "prepared")
        print(f"{manifest.counts.read:,} of {rows:,} rows in {spent.seconds:.0f} s")
        if not manifest.complete:
            raise SystemExit(
                "not complete: run the same command again" if stop_after_s else log.read_text()
            )
        results = (
            summarise(manifest, spent.seconds, spent.peaks) | {"runs": spent.runs} | spent.step
        )
        settings = {"rows": rows, "model": model, "workers": workers, "bytes": chats.stat().st_size}
        write_record(out / f"prepare_{rows}.json", main.__doc__ or "", settings, results)
        print(json.dumps(results, indent=2))


class Spent:
    """Seconds, peak memory and the first training step of a preparation, over all its runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        saved = json.loads(path.read_text()) if path.is_file() else {}
        self.runs: int = saved.get("runs", 0)
        self.seconds: float = saved.get("seconds", 0.0)
        self.peaks: dict[str, float] = saved.get("peaks", {})
        self.step: dict[str, Any] = saved.get("step", {})

    def add(self, seconds: float, peaks: dict[str, float]) -> None:
        """Count one more run."""
        self.runs += 1
        self.seconds += seconds
        self.peaks |= {name: max(peak, self.peaks.get(name, 0)) for name, peak in peaks.items()}
        saved = {name: getattr(self, name) for name in ("runs", "seconds", "peaks", "step")}
        self._path.write_text(json.dumps(saved))


def start(job: str, stream: Any, *settings: str) -> subprocess.Popen[bytes]:
    """Start a job as a user would."""
    return subprocess.Popen(
        [sys.executable, f"jobs/{job}.py", *settings],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=stream,
        stderr=subprocess.STDOUT,
    )


def write_chats(path: Path, num_rows: int) -> Path:
    """Chats about ICD-10 codes, drawn by a fixed seed; nothing is written when they are there."""
    from medray.data.schemas.icd10_codes import code_table

    count = path.with_suffix(".count")
    if count.exists() and count.read_text() == str(num_rows):
        return path
    codes = code_table()[0]
    rng = random.Random(17)
    earlier = ("", "")
    with path.open("w", encoding="utf-8") as stream:
        for number in range(num_rows):
            if number % REPEAT_EVERY == REPEAT_EVERY - 1:
                question, answer = earlier
                answer = answer.replace("recorded", "noted", 1)
            else:
                found = [codes[rng.randrange(len(codes))] for _ in range(5)]
                history = "; ".join(
                    f"{code.meaning} ({rng.randrange(1990, 2026)})" for code in found[:3]
                )
                question = f"A patient of {rng.randrange(18, 95)} has had: {history}. Which codes are these?"
                answer = " ".join(f"{c.meaning} is recorded as {c.code}." for c in found[:3])
                answer += f" Not to be confused with {found[3].meaning} or {found[4].meaning}."
                earlier = (question, answer)
            turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
            stream.write(json.dumps({"conversations": turns}) + "\n")
    count.write_text(str(num_rows))
    return path


def first_step(base: Path, model: str, began: float, stream: Any) -> dict[str, Any]:
    """Start a training job on the folder as soon as it is one, and wait for its end: `STEPS` steps."""
    prepared, run = base / "prepared", base / f"run-{time.time():.0f}"
    while not is_prepared(prepared):
        time.sleep(0.1)
    job = start(
        "sft", stream, f"out={run}", f"data.path={prepared}", f"model.path={model}", "optim.lr=1e-5",
        f"batch.num_steps={STEPS}", f"batch.rows_per_step={STEP_ROWS}", "evaluation.num_rows=0",
        "workers.learner.cpus=0.1", "checkpoint.every=1000",
    )  # fmt: skip
    ended, went_on = 0.0, False
    while job.poll() is None:
        if not ended and _steps(run):
            ended = time.monotonic() - began
            went_on = not read_manifest(prepared).complete
        time.sleep(0.2)
    if job.returncode:
        raise SystemExit("the training job failed: see its output in prepare.log")
    rows = _steps(run)
    return {
        "first_step_ended_s": round(ended, 1),
        "first_step_tokens": rows[0].metrics["data/tokens"],
        "preparation_went_on": went_on,
        "loss_first_and_last": [round(rows[i].metrics["loss/total"], 3) for i in (0, -1)],
    }


def _steps(run: Path) -> list[MetricRow]:
    rows = read_metrics(run) if (run / "metrics.jsonl").is_file() else []
    return [row for row in rows if row.kind == "train"]


def summarise(manifest: Manifest, seconds: float, peaks: dict[str, float]) -> dict[str, Any]:
    """The figures of a whole preparation."""
    tokens = sum(shard.num_tokens for shard in manifest.shards)
    bundles = sum(shard.num_bundles for shard in manifest.shards)
    return {
        "seconds": round(seconds, 1),
        "rows_per_s": round(manifest.counts.read / seconds, 1),
        "tokens_per_s": round(tokens / seconds),
        "tokens": tokens,
        "shards": len(manifest.shards),
        "packed_rows_filled": round(tokens / (bundles * ROW_TOKENS), 4),
        "dropped": {reason: drop.count for reason, drop in manifest.dropped.items()},
        "peak_rss_gib": {name: round(peak, 3) for name, peak in sorted(peaks.items())},
    }


class PeakMemory:
    """The largest resident set of any process below one, by kind of process; shared memory counts in each."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._peaks = Counter[str]()
        self.ended: float | None = None  # time.monotonic() of the process's end
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, float]:
        """Peaks in GiB."""
        self._ended.set()
        self._thread.join()
        return {name: size / 2**30 for name, size in self._peaks.items()}

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            try:
                if self._root.status() == psutil.STATUS_ZOMBIE:
                    self.ended = time.monotonic()
                    return
                processes = [self._root, *self._root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for process in processes:
                try:
                    name, size = _kind(process, self._root), process.memory_info().rss
                except psutil.Error:
                    continue
                self._peaks[name] = max(self._peaks[name], size)


def _kind(process: psutil.Process, root: psutil.Process) -> str:
    if process.pid == root.pid:
        return "driver"
    title = (process.cmdline() or [process.name()])[0].partition("(")[0]
    return Path(title).name or process.name()


if __name__ == "__main__":
    typer.run(main)
