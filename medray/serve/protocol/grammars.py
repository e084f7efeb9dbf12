"""Schemas and grammars are compiled here before the engine sees them: it has neither a deadline nor a second life."""

from __future__ import annotations

import asyncio
import json
import selectors
import subprocess
import sys
import threading
from collections import OrderedDict
from hashlib import sha256
from typing import IO, cast

from medray.serve.errors import ApiError, overloaded
from medray.serve.protocol.constraints import Constraint

START_S = 120.0
"""Seconds for the process to import xgrammar and to read a tokenizer."""
COMPILE_S = 10.0
"""Seconds a grammar may take; the engine then takes as long for it, once."""
REMEMBERED = 512


class GrammarChecks:
    """Asks a process of its own whether a grammar compiles; starts it with the first grammar, and anew after a loss."""

    def __init__(self, *, compile_s: float = COMPILE_S) -> None:
        self._compile_s = compile_s
        self._process: subprocess.Popen[bytes] | None = None
        self._ready_for: set[str] = set()
        self._lock = threading.Lock()
        self._known: OrderedDict[str, str | None] = OrderedDict()

    async def require(self, constraints: list[Constraint], source: str, *, trusted: bool) -> None:
        """Refuse a request with a grammar that the model at `source` cannot be bound to.

        Raises:
            ApiError: 400, naming the field; 503, where the process does not start.
        """
        for constraint in constraints:
            fault = await asyncio.to_thread(self._fault, constraint, source, trusted)
            if fault is not None:
                raise ApiError(
                    400,
                    f"{constraint.param}: {fault[:500]}",
                    code="invalid_value",
                    param=constraint.param,
                )

    def close(self) -> None:
        """End the compiling process."""
        process, self._process = self._process, None
        self._ready_for.clear()
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                cast("IO[bytes]", stream).close()

    def _fault(self, constraint: Constraint, source: str, trusted: bool) -> str | None:
        question = {"kind": constraint.kind, "value": constraint.value}
        asked = json.dumps({**question, "source": source, "trusted": trusted}, sort_keys=True)
        key = sha256(asked.encode()).hexdigest()
        with self._lock:  # one at a time: a flood of grammars waits here, and takes one core
            if key not in self._known:
                self._known[key] = self._compiled(question, source, trusted)
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
            return self._known[key]

    def _compiled(self, question: dict[str, object], source: str, trusted: bool) -> str | None:
        which = {"source": source, "trusted": trusted}
        if self._process is not None and self._process.poll() is not None:
            self.close()  # lost since it last answered, for a reason of its own
        if source not in self._ready_for:
            if self._ask({"kind": None, "value": None, **which}, START_S) is None:
                raise overloaded("grammars cannot be checked now: try again later")
            self._ready_for.add(source)
        answer = self._ask({**question, **which}, self._compile_s)
        if answer is None:
            return (
                f"takes longer than {self._compile_s:g} seconds to compile, or cannot be compiled"
            )
        return answer["fault"]

    def _ask(self, question: dict[str, object], seconds: float) -> dict[str, str | None] | None:
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
            self.close()
            return None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            line = stdout.readline() if selector.select(seconds) else b""
        if not line:
            self.close()
            return None
        return json.loads(line)
