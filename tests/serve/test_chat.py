"""The terminal chat without a service: history, commands, what a model may print."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

from medray.errors import ConfigError, DataError
from medray.medical.safety.guard import Guard
from medray.serve.client.conversation import Conversation
from medray.serve.client.service import Service
from medray.serve.client.terminal import TerminalChat, printable
from tests.conftest import ROOT

CUT = object()
"""The end of an answer whose length is used up."""


class Stream:
    """An answer in pieces; a piece that is an exception is raised."""

    def __init__(self, pieces: list[Any]) -> None:
        self._pieces = pieces

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        for piece in self._pieces:
            if isinstance(piece, BaseException):
                raise piece
            delta = SimpleNamespace(content=None if piece is CUT else piece)
            ends = "length" if piece is CUT else None
            yield SimpleNamespace(choices=[SimpleNamespace(delta=delta, finish_reason=ends)])


def _talk(
    lines: list[Any], answer: Callable[[int, list[Any]], list[Any]], **kwargs: Any
) -> tuple[str, list[list[dict[str, str]]], Conversation]:
    """What is printed, what was asked each time, and the conversation at the end."""
    asked: list[list[dict[str, str]]] = []

    def create(messages: list[dict[str, str]], **_: Any) -> Stream:
        asked.append([dict(m) for m in messages])
        pieces = answer(len(asked), messages)
        if pieces and isinstance(pieces[0], openai.APIStatusError):
            raise pieces[0]
        return Stream(pieces)

    completions = SimpleNamespace(create=create)
    client: Any = SimpleNamespace(chat=SimpleNamespace(completions=completions))
    conversation = Conversation(kwargs.get("system", ""))
    remaining = iter(lines)

    def read(_: str) -> str:
        try:
            line = next(remaining)
        except StopIteration:
            raise EOFError from None
        if isinstance(line, BaseException):
            raise line
        return line

    out = kwargs.get("out") or io.StringIO()
    TerminalChat(
        Service(client, "m"), conversation, temperature=0, max_new_tokens=9, read=read, out=out
    ).run()
    out.flush()
    return out.getvalue() if isinstance(out, io.StringIO) else "", asked, conversation


def _numbered(n: int, _: object) -> list[str]:
    return ["answer ", str(n)]


def test_history_is_whole_over_many_turns() -> None:
    _, asked, conversation = _talk(
        [f"question {i}" for i in range(1, 11)], _numbered, system="Be brief."
    )
    assert asked[9][0] == {"role": "system", "content": "Be brief."}
    turns = [m["content"] for m in asked[9][1:]]
    pairs = [text for i in range(1, 10) for text in (f"question {i}", f"answer {i}")]
    assert turns == [*pairs, "question 10"]
    assert len(conversation) == 10


def test_commands() -> None:
    lines = ["one", "two", "/undo", "three", "/retry", "/system Be kind.", "four", "/clear", "five"]
    out, asked, _ = _talk(lines, _numbered)
    contents = [[m["content"] for m in messages] for messages in asked]
    assert contents[2] == ["one", "answer 1", "three"]
    assert contents[3] == contents[2]
    assert contents[4] == ["Be kind.", "one", "answer 1", "three", "answer 4", "four"]
    assert contents[5] == ["Be kind.", "five"]
    assert "taken back: two" in out


def test_unknown_commands_show_help_and_quit_leaves() -> None:
    out, asked, _ = _talk(["/frobnicate", "/undo", "/retry", "/quit", "never asked"], _numbered)
    assert "no command /frobnicate" in out
    assert "nothing to take back" in out
    assert "nothing to answer again" in out
    assert not asked


def test_lines_that_end_with_a_backslash_go_on() -> None:
    _, asked, _ = _talk(["first \\", "second", ""], _numbered)
    assert asked[0][-1]["content"] == "first \nsecond"


@pytest.mark.parametrize("passed_on", [True, False])
def test_a_bad_byte_costs_its_line_and_not_the_conversation(passed_on: bool) -> None:
    bad = "sant\udce9" if passed_on else UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid")
    out, asked, conversation = _talk(["one", bad, "two"], _numbered)
    assert "not UTF-8" in out
    assert [m["content"] for m in asked[-1]] == ["one", "answer 1", "two"]
    assert len(conversation) == 2


def test_ctrl_c_at_the_prompt_clears_the_line_and_leaves_only_when_it_is_repeated() -> None:
    again = KeyboardInterrupt()
    out, asked, conversation = _talk(["one", again, "two", again, again, "three"], _numbered)
    assert "line cleared" in out
    assert [m["content"] for m in asked[-1]] == ["one", "answer 1", "two"]
    assert len(conversation) == 2


@pytest.mark.parametrize(
    "gone",
    [
        OSError(5, "Input/output error"),
        ValueError("I/O operation on closed file"),
        RuntimeError("input(): lost sys.stdin"),
    ],
)
def test_an_input_that_is_gone_ends_the_chat_with_the_conversation_saved(
    gone: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, _, conversation = _talk(["one", gone, "never asked"], _numbered)
    (saved,) = tmp_path.glob("chat-*.json")
    assert f"saved to {saved.name}" in out
    assert Conversation.load(saved).messages == conversation.messages
    _talk([gone], _numbered)
    assert len([*tmp_path.iterdir()]) == 1, "an empty conversation needs no file"


def test_a_token_that_is_no_longer_taken_costs_no_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answers = {1: ["fine"], 2: [_status(401, "unknown API key")]}
    with pytest.raises(ConfigError, match="rejects the token"):
        _talk(["one", "two"], lambda n, _: answers[n])
    (saved,) = tmp_path.glob("chat-*.json")
    assert [m["content"] for m in Conversation.load(saved).messages] == ["one", "fine"]


PROGRAM = """
from types import SimpleNamespace as N
from medray.medical.safety.guard import Guard
from medray.serve.client.conversation import Conversation
from medray.serve.client.service import Service
from medray.serve.client.terminal import TerminalChat
from tests.serve.test_chat import Stream
ask = lambda messages, **_: Stream([f"{len(messages)} heard"])
client = N(chat=N(completions=N(create=ask)))
TerminalChat(Service(client, "m"), Conversation(), temperature=0, max_new_tokens=9).run()
"""


@pytest.mark.parametrize("closed", [False, True])
def test_a_real_stdin_of_bad_bytes_and_one_that_is_closed(closed: bool, tmp_path: Path) -> None:
    """A TextIOWrapper that decodes strictly drops what stands behind the bad byte in its buffer."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.stdin = None\n{PROGRAM}" if closed else PROGRAM],
        input=b"one\nsant\xe9\ntwo\n",
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        cwd=tmp_path,
        capture_output=True,
        timeout=100,
        check=False,
    )
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert ("3 heard" in said) == (not closed), said
    assert ("cannot be read" in said) == closed


def test_a_terminal_that_lacks_a_character_shows_another() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    _talk(["one"], lambda *_: ["hélas"], out=out)
    assert b"h?las" in raw.getvalue()


def test_a_stopped_answer_is_kept_as_far_as_it_came() -> None:
    answers = {1: ["half an ", "answer", KeyboardInterrupt()], 2: ["whole"]}
    out, asked, _ = _talk(["one", "two"], lambda n, _: answers[n])
    assert "(stopped)" in out
    assert [m["content"] for m in asked[1]] == ["one", "half an answer", "two"]


def _status(status: int, message: str) -> openai.APIStatusError:
    response = httpx.Response(status, request=httpx.Request("POST", "http://t"))
    kinds = {400: openai.BadRequestError, 401: openai.AuthenticationError}
    kind = kinds.get(status, openai.InternalServerError)
    return kind(message, response=response, body={"message": message})


def test_a_failed_answer_leaves_no_half_turn() -> None:
    answers = {1: [_status(503, "every replica is busy")], 2: ["fine"]}
    out, asked, _ = _talk(["one", "two"], lambda n, _: answers[n])
    assert "no answer: every replica is busy" in out
    assert [m["content"] for m in asked[1]] == ["two"]


def test_the_oldest_turn_goes_when_the_context_is_full() -> None:
    def answer(n: int, messages: list[Any]) -> list[Any]:
        if len(messages) > 3:
            return [_status(400, "This model's maximum context length is 10 tokens")]
        return ["ok"]

    out, asked, conversation = _talk(["one", "two", "three"], answer)
    assert "the oldest turn is left out" in out
    assert [m["content"] for m in asked[-1]] == ["two", "ok", "three"]
    assert len(conversation) == 2


def test_an_answer_that_is_cut_says_so() -> None:
    answers = {1: ["half an", CUT], 2: ["whole"]}
    out, asked, _ = _talk(["one", "two"], lambda n, _: answers[n])
    assert "half an\n(cut: the answer reached 9 tokens" in out
    assert out.count("(cut") == 1
    assert asked[1][1]["content"] == "half an"


def test_a_saved_conversation_holds_what_the_model_wrote(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    verdict = Guard().before(["I have crushing chest pain and I am sweating"])
    sent = verdict.prefix + "Sit down." + verdict.watch().suffix()
    _, asked, _ = _talk(["one", f"/save {path}", "two"], lambda *_: [sent])
    assert asked[-1][1]["content"] == sent, "the chat itself goes on with what was shown"
    assert Conversation.load(path).messages[1]["content"] == "Sit down."


def test_a_saved_conversation_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    out, _, conversation = _talk(["one", f"/save {path}"], _numbered, system="Be brief.")
    assert f"saved to {path}" in out
    loaded = Conversation.load(path)
    assert loaded.messages == conversation.messages
    assert loaded.system == "Be brief."


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"messages": [{"role": "assistant", "content": "x"}]}'])  # fmt: skip
def test_other_files_are_no_conversation(tmp_path: Path, text: str) -> None:
    path = tmp_path / "chat.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"chat\.json"):
        Conversation.load(path)


def test_a_model_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\r\n\t中文 👩‍⚕️") == "a[2Jb\n\t中文 👩‍⚕️"
    out, _, _ = _talk(["one"], lambda *_: ["\x1b]0;title\x07x"])
    assert "\x1b" not in out
