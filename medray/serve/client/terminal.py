"""The chat of `medray chat`: lines in, tokens out as they come, commands with a slash."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from medray.errors import ConfigError, MedrayError
from medray.serve.client.conversation import Conversation
from medray.serve.client.service import Service, default_save_path
from medray.storage.unicode import is_writable

HELP = """\
/system TEXT   set the system prompt (without TEXT: show it)
/retry         answer the last question again
/undo          take the last question and its answer back
/clear         forget the conversation, keep the system prompt
/save [FILE]   write the conversation as JSON, without what the safety rules added
/quit          leave (also Ctrl-D)
A line that ends with \\ goes on in the next one. Ctrl-C stops an answer, or clears a line."""
PROMPT, MORE = "> ", "… "
NOT_TEXT = "the line holds bytes that are not UTF-8: it was not sent, the conversation goes on"
CUT = "(cut: the answer reached {} tokens; ask it to go on, or start the chat with a larger --max-new-tokens)"
CLEARED = "(line cleared; Ctrl-D, /quit or Ctrl-C again to leave)"
Read = Callable[[str], str]


class TerminalChat:
    """One conversation with one model."""

    def __init__(
        self,
        service: Service,
        conversation: Conversation,
        *,
        temperature: float,
        max_new_tokens: int,
        read: Read = input,
        out: TextIO | None = None,
    ) -> None:
        self._service = service
        self._conversation = conversation
        self._sampling = {"temperature": temperature, "max_tokens": max_new_tokens}
        self._read = read
        self._out = out or sys.stdout
        self._interrupts = 0

    def run(self) -> None:
        """Until /quit or the end of the input."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  line editing and history for input()
        if isinstance(self._out, io.TextIOWrapper):
            self._out.reconfigure(errors="replace")  # a terminal without an answer's characters
        if isinstance(sys.stdin, io.TextIOWrapper):
            # A byte that is not UTF-8 otherwise takes the rest of the buffer with it.
            sys.stdin.reconfigure(errors="surrogateescape")
        self._say(f"{self._service.model}: /help for commands, Ctrl-D to leave")
        while (line := self._next_line()) is not None:
            if not is_writable(line):
                self._say(NOT_TEXT)
            elif line.startswith("/"):
                if self._command(line.strip()):
                    return
            elif line.strip():
                self._ask(line)

    def _next_line(self) -> str | None:
        """A question or command, several typed lines where they end with a backslash; None at the end."""
        lines: list[str] = []
        try:
            lines.append(self._read(PROMPT))
            while lines[-1].endswith("\\"):
                lines[-1] = lines[-1][:-1]
                lines.append(self._read(MORE))
        except UnicodeDecodeError:
            return "\udcff"  # as a terminal does that passes such bytes on
        except EOFError:
            self._say("")
            return "\n".join(lines) if lines else None
        except KeyboardInterrupt:
            return self._interrupted()
        except (
            OSError,
            RuntimeError,
            ValueError,
        ) as error:  # the terminal is gone, or stdin is closed
            self._keep(f"the input cannot be read ({error})")
            return None
        self._interrupts = 0
        return "\n".join(lines)

    def _interrupted(self) -> str | None:
        """Ctrl-C where nothing is answered: the line is cleared; a second one in a row leaves."""
        self._interrupts += 1
        self._say("" if self._interrupts > 1 else f"\n{CLEARED}")
        return None if self._interrupts > 1 else ""

    def _keep(self, reason: str) -> None:
        """Save a conversation that ends against the user's will."""
        self._say(f"\n{reason}")
        if len(self._conversation):
            self._save(default_save_path())

    def _command(self, line: str) -> bool:
        """Do what a slash command says; True to leave."""
        name, _, rest = line.partition(" ")
        rest = rest.strip()
        if name in ("/quit", "/exit", "/q"):
            return True
        if name == "/system":
            if rest:
                self._conversation.system = rest
            self._say(f"system prompt: {self._conversation.system or '(none)'}")
        elif name == "/clear":
            self._conversation.clear()
            self._say("the conversation is empty")
        elif name == "/undo":
            question = self._conversation.undo()
            self._say("nothing to take back" if question is None else f"taken back: {question}")
        elif name == "/retry":
            question = self._conversation.undo()
            if question is None:
                self._say("nothing to answer again")
            else:
                self._ask(question)
        elif name == "/save":
            self._save(Path(rest).expanduser() if rest else default_save_path())
        else:
            self._say(HELP if name == "/help" else f"no command {name}\n{HELP}")
        return False

    def _save(self, path: Path) -> None:
        try:
            self._conversation.save(path)
        except (MedrayError, OSError) as error:
            self._say(f"not saved: {error}")
        else:
            self._say(f"saved to {path}")

    def _ask(self, question: str) -> None:
        """Stream the answer; one that is stopped is kept as far as it came, one that failed is withdrawn."""
        import httpx
        import openai

        self._conversation.ask(question)
        pieces: list[str] = []
        try:
            is_cut = self._stream(pieces)
        except KeyboardInterrupt:
            self._say("\n(stopped)")
        except openai.AuthenticationError:
            self._conversation.withdraw()
            self._keep("the service rejects the token")
            raise ConfigError("the service rejects the token: set MEDRAY_SERVE_TOKEN") from None
        except (openai.OpenAIError, httpx.HTTPError) as error:  # a connection lost within a stream
            self._conversation.withdraw()
            self._say(f"\nno answer: {_message(error)}")
            return
        else:
            self._say(f"\n{CUT.format(self._sampling['max_tokens'])}" if is_cut else "")
        if pieces:
            self._conversation.answer("".join(pieces))
        else:
            self._conversation.withdraw()

    def _stream(self, pieces: list[str]) -> bool:
        """Print the answer as it comes, and add it to `pieces`; True where its length was used up."""
        import openai

        while True:
            try:
                stream = self._service.client.chat.completions.create(
                    model=self._service.model,
                    messages=self._conversation.messages,  # type: ignore[arg-type]
                    stream=True,
                    **self._sampling,  # type: ignore[arg-type]
                )
                break
            except openai.BadRequestError as error:
                if "context length" not in str(error) or not self._conversation.forget_oldest():
                    raise
                self._say(
                    "(the conversation is longer than the model's context: the oldest turn is left out)"
                )
        is_cut = False
        with stream:
            for chunk in stream:
                if not chunk.choices:
                    continue
                is_cut = is_cut or chunk.choices[0].finish_reason == "length"
                if piece := chunk.choices[0].delta.content:
                    pieces.append(piece)
                    self._out.write(printable(piece))
                    self._out.flush()
        return is_cut

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def printable(text: str) -> str:
    """The text without control characters: a model must not steer the terminal."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable() or c in "\u200d\ufe0f\u3000")


def _message(error: Any) -> str:
    body = getattr(error, "body", None)
    text = body.get("message") if isinstance(body, dict) else None
    return str(text or error)
