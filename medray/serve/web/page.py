"""The page, and what its buttons do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr  # pyright: ignore[reportMissingImports]
from gradio.themes import Soft  # pyright: ignore[reportMissingImports]

from medray.medical.safety.language import Language
from medray.serve.web.answering import (
    History,
    Sampling,
    answer,
    as_written,
    open_question,
    without_last_answer,
    without_last_turn,
)
from medray.serve.web.ratings import Ratings
from medray.serve.web.scripts import DOWNLOAD, KEEP, RESTORE
from medray.serve.web.texts import TEXTS, Texts
from medray.serve.web.turns import Turns

ClientOf = Callable[[str | None], Any]
"""The OpenAI client of a user, by name."""
LANGUAGES: dict[str, Language] = {"English": "en", "中文": "zh"}
FONTS = ["system-ui", "-apple-system", "Segoe UI", "PingFang SC", "Microsoft YaHei", "sans-serif"]
THEME = Soft(font=FONTS, font_mono=["ui-monospace", "monospace"])  # nothing from a CDN
CSS = """
footer {display: none !important}
#notice:not(:empty) .prose * {color: #b45309; font-weight: 600}
.dark #notice:not(:empty) .prose * {color: #fbbf24}
#language {margin-left: auto; width: fit-content; flex: none}
#chat button[aria-label="Clear"] {display: none}
#running {min-height: 1.5em}
.gradio-container, .contain {max-width: 60rem; margin: auto}
"""
MAX_TOKENS = 4096


class Page:
    """The chat page; which models there are it asks when it is opened."""

    def __init__(
        self, client_of: ClientOf, *, language: Language = "en", ratings: Ratings | None = None
    ) -> None:
        self._client_of = client_of
        self._first: Language = language
        self._ratings = ratings
        self._turns = Turns()
        self.blocks = self._build()

    def _build(self) -> gr.Blocks:
        texts: Texts = TEXTS[self._first]
        with gr.Blocks(title=texts.title, analytics_enabled=False, fill_height=True) as blocks:
            with gr.Row(equal_height=True):
                self.title = gr.Markdown(f"## {texts.title}")
                first = next(n for n, code in LANGUAGES.items() if code == self._first)
                self.language = gr.Radio(
                    list(LANGUAGES), value=first, show_label=False, container=False, min_width=200, elem_id="language"
                )  # fmt: skip
            self.greeting = gr.Markdown(self._greeting(texts))
            self.notice = gr.Markdown("", elem_id="notice")
            self.chat = gr.Chatbot(
                show_label=False, height="55vh", buttons=["copy"], allow_file_downloads=False, elem_id="chat",
                placeholder=texts.empty,
            )  # fmt: skip
            self.running = gr.Markdown("", elem_id="running")
            with gr.Row(equal_height=True):
                self.box = gr.Textbox(
                    placeholder=texts.ask, show_label=False, lines=1, max_lines=8,
                    scale=8, autofocus=True, elem_id="box",
                )  # fmt: skip
                self.send = gr.Button(texts.send, variant="primary", min_width=64, elem_id="send")
                self.stop = gr.Button(texts.stop, variant="stop", min_width=64, elem_id="stop")
            with gr.Row():
                self.retry = gr.Button(texts.retry, size="sm", min_width=80, elem_id="retry")
                self.undo = gr.Button(texts.undo, size="sm", min_width=80, elem_id="undo")
                self.clear = gr.Button(texts.clear, size="sm", min_width=80, elem_id="clear")
                self.export = gr.Button(texts.export, size="sm", min_width=80, elem_id="export")
            self.file = gr.Textbox(visible="hidden")
            self._settings(texts)
            self._wire()
            blocks.load(self._find_models, None, self.model)
            blocks.load(None, None, self.chat, js=RESTORE)
        return blocks

    def _greeting(self, texts: Texts) -> str:
        return texts.greeting if self._ratings is None else f"{texts.greeting} {texts.rating}"

    def _settings(self, texts: Texts) -> None:
        with gr.Accordion(texts.settings, open=False, elem_id="settings") as self.settings:
            self.model = gr.Dropdown(
                [], label=texts.model, allow_custom_value=True, elem_id="model"
            )
            self.system = gr.Textbox(
                label=texts.system, placeholder=texts.system_hint, lines=2, max_length=8000
            )
            with gr.Row():
                self.temperature = gr.Slider(0, 2, value=0.7, step=0.1, label=texts.temperature)
                self.top_p = gr.Slider(0.05, 1, value=1, step=0.05, label=texts.top_p)
                self.length = gr.Slider(16, MAX_TOKENS, value=512, step=16, label=texts.length)

    def _wire(self) -> None:
        shown = [self.chat, self.notice, self.box, self.running]
        answering = []
        for event in (self.box.submit, self.send.click):
            asked = event(
                self._ask,
                [self.box, self.chat, self.language, self.notice],
                shown,
                show_progress="hidden",
            )
            answering.append(self._then_answer(asked, shown))
        again = self.retry.click(
            self._ask_again, [self.chat, self.language], shown, show_progress="hidden"
        )
        answering.append(self._then_answer(again, shown))
        stopped = self.stop.click(self._stop, None, shown, cancels=answering)
        stopped.then(lambda: "", None, self.running)  # again: a last word may come in between
        for button, change, inputs in (
            (self.undo, self._undo, [self.chat]),
            (self.clear, self._clear, []),
        ):
            # One after the other, or the stopped answer's last words come after the change.
            stopped = button.click(self._stop, None, shown, cancels=answering)
            stopped.then(change, inputs, shown)
        self.language.change(self._translate, self.language, self._translated(), queue=False)
        self.chat.change(None, self.chat, None, js=KEEP)
        exported = self.export.click(_exported, [self.chat, self.system], self.file)
        exported.then(None, self.file, None, js=DOWNLOAD)
        if self._ratings is not None:
            self.chat.like(self._rate, [self.chat, self.system, self.language], None)

    def _then_answer(self, event: Any, shown: list[Any]) -> Any:
        controls = [self.model, self.system, self.temperature, self.top_p, self.length]
        inputs = [self.chat, self.language, *controls]
        return event.success(self._answer, inputs, shown, show_progress="hidden")

    async def _find_models(self, request: gr.Request) -> Any:
        """The service's models; the last one, an adapter where there is one, is chosen."""
        listed = await self._client_of(request.username).models.list()
        names = [card.id for card in listed.data]
        return gr.update(choices=names, value=names[-1])

    async def _ask(
        self, question: str, history: History, language: str, notice: str, request: gr.Request
    ) -> tuple[Any, Any, Any, Any]:
        """The question into the chat; while an answer is being written it waits for the end of that."""
        texts, session = TEXTS[LANGUAGES[language]], str(request.session_hash)
        if not question.strip():
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        if not self._turns.ask(session):
            self._turns.keep(session, question)
            return gr.skip(), self._notice(session, texts, notice), "", gr.skip()
        return [*history, {"role": "user", "content": question}], "", "", texts.running

    async def _ask_again(
        self, history: History, language: str, request: gr.Request
    ) -> tuple[Any, Any, Any, Any]:
        texts = TEXTS[LANGUAGES[language]]
        kept = without_last_answer(history)
        if kept and not self._turns.ask(str(request.session_hash)):
            raise gr.Error(texts.wait, duration=4, title="medray", print_exception=False)
        return kept, "", gr.skip(), texts.running if kept else ""

    async def _answer(
        self,
        history: History,
        language: str,
        model: str,
        system: str | None,
        temperature: float,
        top_p: float,
        length: float,
        request: gr.Request,
    ) -> AsyncIterator[tuple[Any, Any, Any, Any]]:
        """Stream into the chat and the notice, then answer what was asked meanwhile; nothing where nobody waits."""
        session = str(request.session_hash)
        texts = TEXTS[LANGUAGES[language]]
        sampling = Sampling(model, system, temperature, top_p, int(length))
        client = self._client_of(request.username)
        with self._turns.running(session) as turn:
            if turn is None:
                yield gr.skip(), gr.skip(), gr.skip(), gr.skip()
                return
            while open_question(history) is not None:
                async for shown in answer(client, history, sampling, LANGUAGES[language]):
                    if turn.is_stopped:  # what it says now would bring back what was cleared
                        return
                    history = shown.history
                    box = gr.skip() if shown.unanswered is None else shown.unanswered
                    yield history, self._notice(session, texts, shown.notice), box, texts.running
                question = self._turns.take(session)
                if not question:
                    break
                history = [*history, {"role": "user", "content": question}]
                yield history, "", gr.skip(), texts.running
        yield gr.skip(), gr.skip(), gr.skip(), ""

    def _notice(self, session: str, texts: Texts, said: str) -> str:
        """What is said above the chat: of the answer, and of the question that waits for its end."""
        waiting = self._turns.waiting(session)
        kept = texts.waits.format(waiting) if waiting else ""
        return "\n\n".join(filter(None, (said, kept)))

    async def _stop(self, request: gr.Request) -> tuple[Any, Any, Any, Any]:
        """What waited goes back to where it was typed."""
        waiting = self._turns.stop(str(request.session_hash))
        return gr.skip(), gr.skip(), waiting or gr.skip(), ""

    async def _undo(self, history: History) -> tuple[Any, Any, Any, Any]:
        kept, question = without_last_turn(history)
        return kept, "", question, ""

    async def _clear(self) -> tuple[Any, Any, Any, Any]:
        return [], "", gr.skip(), ""

    def _rate(
        self, history: History, system: str | None, language: str, rated: gr.LikeData
    ) -> None:
        """Store a rating of one answer, with the conversation before it; a rating taken back changes nothing."""
        index = rated.index[0] if isinstance(rated.index, list | tuple) else rated.index
        asked, given = as_written(history[:index], system), as_written(history[index : index + 1])
        if self._ratings is None or rated.liked is None or not given or not asked:
            return
        self._ratings.rate(asked, given[0]["content"], liked=bool(rated.liked))
        gr.Info(TEXTS[LANGUAGES[language]].rated, duration=3, title="medray")

    def _translated(self) -> list[Any]:
        return [
            self.title, self.greeting, self.box, self.send, self.stop, self.retry, self.undo, self.clear, self.export,
            self.settings, self.model, self.system, self.temperature, self.top_p, self.length, self.chat,
        ]  # fmt: skip

    def _translate(self, language: str) -> list[Any]:
        t = TEXTS[LANGUAGES[language]]
        names = (t.send, t.stop, t.retry, t.undo, t.clear, t.export)
        buttons = [gr.update(value=name) for name in names]
        return [
            f"## {t.title}", self._greeting(t), gr.update(placeholder=t.ask), *buttons,
            gr.update(label=t.settings), gr.update(label=t.model),
            gr.update(label=t.system, placeholder=t.system_hint),
            gr.update(label=t.temperature), gr.update(label=t.top_p), gr.update(label=t.length),
            gr.update(placeholder=t.empty),
        ]  # fmt: skip


def _exported(history: History, system: str | None) -> str:
    """The conversation as `medray chat --load` and `medray data` read it."""
    return json.dumps({"messages": as_written(history, system)}, ensure_ascii=False, indent=2)
