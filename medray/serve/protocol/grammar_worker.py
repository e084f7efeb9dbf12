"""Compiles grammars in a process of its own, as the engine will: reads one JSON line a question, writes one an answer.

A grammar may take minutes, or the process's life; the engine is spared both.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from typing import Any


@cache  # whoever asks counts on each tokenizer to stay; there is one a served model
def _compiler(source: str, trusted: bool) -> tuple[Any, int]:
    import xgrammar
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trusted)
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer)
    compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
    return compiler, info.vocab_size


def _fault(question: dict[str, Any]) -> str | None:
    import xgrammar

    compiler, vocabulary = _compiler(question["source"], question["trusted"])
    kind, value = question["kind"], question["value"]
    if kind is None:  # the tokenizer is loaded, and nothing more was asked
        return None
    try:
        if kind == "json":
            compiled = compiler.compile_json_schema(json.dumps(value))
        elif kind == "regex":
            compiled = compiler.compile_regex(value)
        else:
            compiled = compiler.compile_grammar(value)
        mask = xgrammar.allocate_token_bitmask(1, vocabulary)
        xgrammar.GrammarMatcher(compiled).fill_next_token_bitmask(mask)
    except Exception as error:
        # xgrammar puts the time and its source line before what it says
        return str(error).rpartition(".cc:")[2].partition(": ")[2].strip() or type(error).__name__
    return None if mask.ne(0).any() else "no answer can follow it"


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries may print
    for line in sys.stdin:
        answers.write(json.dumps({"fault": _fault(json.loads(line))}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
