"""Schemas and grammars are compiled here before the engine sees them: it has neither a deadline nor a second life."""

from __future__ import annotations

import asyncio
import json
import math
import selectors
import subprocess
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from time import monotonic
from typing import IO, Any, NamedTuple, cast

from medray.serve.errors import ApiError, overloaded
from medray.serve.protocol.constraints import Constraint

START_S = 120.0
"""Seconds for the process to import xgrammar and to read a tokenizer."""
COMPILE_S = 10.0
"""Seconds a grammar may take; the engine then takes as long for it, once."""
REMEMBERED = 512
LATE_S = 300.0
"""Seconds for which a grammar stays refused that was not compiled in time, or ended the process.

Not for ever: a good one may have met a slow moment. Not for none: a bad one, sent again and again, would keep the
process compiling and starting. So it has COMPILE_S and one start in five minutes, and only new grammars wait meanwhile.
"""


class Verdict(NamedTuple):
    """What is wrong with a grammar, if anything, and until when that holds on the monotonic clock."""

    fault: str | None
    until: float = math.inf


class GrammarChecks:
    """Asks a process of its own whether a grammar compiles; starts it with the first grammar, and anew after a loss.

    One thread of its own asks: a flood of grammars waits for it, takes one core, and holds no thread of asyncio's.
    """

    def __init__(self, *, compile_s: float = COMPILE_S) -> None:
        self._compile_s = compile_s
        self._process: subprocess.Popen[bytes] | None = None
        self._ready_for: set[str] = set()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="grammars")
        self._known: OrderedDict[str, Verdict] = OrderedDict()

    async def require(self, constraints: list[Constraint], source: str, *, trusted: bool) -> None:
        """Refuse a request with a grammar that the model at `source` cannot be bound to.

        Raises:
            ApiError: 400, naming the field; 503, where the process does not start.
        """
        loop = asyncio.get_running_loop()
        for constraint in constraints:
            question = {"kind": constraint.kind, "value": constraint.value}
            question |= {"source": source, "trusted": trusted}
            key = sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
            verdict = self._remembered(key)
            if verdict is None:
                verdict = await loop.run_in_executor(self._executor, self._verdict, key, question)
            if verdict.fault is not None:
                raise ApiError(
                    400,
                    f"{constraint.param}: {verdict.fault[:500]}",
                    code="invalid_value",
                    param=constraint.param,
                )

    def close(self) -> None:
        """End the compiling process and the thread that asks it."""
        if (process := self._process) is not None:
            process.kill()  # the thread may be waiting for its answer
        self._executor.shutdown(cancel_futures=True)
        self._end()

    def _remembered(self, key: str) -> Verdict | None:
        verdict = self._known.get(key)
        return verdict if verdict is not None and monotonic() < verdict.until else None

    def _verdict(self, key: str, question: dict[str, Any]) -> Verdict:
        """The verdict remembered, or a new one; in the thread that asks."""
        verdict = self._remembered(key)  # by a request that waited before this one
        if verdict is None:
            verdict = self._known[key] = self._compiled(question)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return verdict

    def _compiled(self, question: dict[str, Any]) -> Verdict:
        if self._process is not None and self._process.poll() is not None:
            self._end()  # lost since it last answered, for a reason of its own
        source: str = question["source"]
        if source not in self._ready_for:
            if self._ask({**question, "kind": None, "value": None}, START_S) is None:
                raise overloaded("grammars cannot be checked now: try again later")
            self._ready_for.add(source)
        answer = self._ask(question, self._compile_s)
        if answer is None:
            fault = (
                f"takes longer than {self._compile_s:g} seconds to compile, or cannot be compiled"
            )
            return Verdict(fault, monotonic() + LATE_S)
        return Verdict(answer["fault"])

    def _end(self) -> None:
        process, self._process = self._process, None
        self._ready_for.clear()
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                cast("IO[bytes]", stream).close()

    def _ask(self, question: dict[str, Any], seconds: float) -> dict[str, str | None] | None:
        """The answer; None for a process that is lost or too slow, which is then ended."""
        process = self._process
        if process is None:
            command = [sys.executable, "-m", "medray.serve.protocol.grammar_worker"]
            process = self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        try:
            stdin.write(json.dumps(question).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            self._end()
            return None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            line = stdout.readline() if selector.select(seconds) else b""
        if not line:
            self._end()
            return None
        return json.loads(line)
