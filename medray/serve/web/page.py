"""The page, and what its buttons do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr  # pyright: ignore[reportMissingImports]
from gradio.themes import Soft  # pyright: ignore[reportMissingImports]

from medray.medical.safety.language import Language
from medray.serve.web.answering import (
    History,
    Sampling,
    answer,
    open_question,
    without_last_answer,
    without_last_turn,
)
from medray.serve.web.texts import TEXTS, Texts

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
.contain {max-width: 60rem; margin: auto}
"""
MAX_TOKENS = 4096


class Page:
    """The chat page; which models there are it asks when it is opened."""

    def __init__(self, client_of: ClientOf, *, language: Language = "en") -> None:
        self._client_of = client_of
        self._first: Language = language
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
            self.greeting = gr.Markdown(texts.greeting)
            self.notice = gr.Markdown("", elem_id="notice")
            self.busy = gr.State(False)  # an answer is being written
            self.chat = gr.Chatbot(
                show_label=False, height="55vh", buttons=["copy"], allow_file_downloads=False, elem_id="chat",
                placeholder=texts.empty,
            )  # fmt: skip
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
            self._settings(texts)
            self._wire()
            blocks.load(self._find_models, None, self.model)
        return blocks

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
        shown = [self.chat, self.notice, self.box, self.busy]
        answering = []
        for event in (self.box.submit, self.send.click):
            asked = event(
                _ask, [self.box, self.chat, self.busy, self.language], shown, show_progress="hidden"
            )
            answering.append(self._then_answer(asked, shown))
        again = self.retry.click(
            _ask_again,
            [self.chat, self.busy, self.language],
            [self.chat, self.busy],
            show_progress="hidden",
        )
        answering.append(self._then_answer(again, shown))
        self.stop.click(lambda: False, None, self.busy, cancels=answering, queue=False)
        self.undo.click(_undo, self.chat, shown, cancels=answering)
        cleared = [self.chat, self.notice, self.busy]
        self.clear.click(lambda: ([], "", False), None, cleared, cancels=answering)
        self.language.change(self._translate, self.language, self._translated(), queue=False)

    def _then_answer(self, event: Any, shown: list[Any]) -> Any:
        return event.success(self._answer, self._answer_inputs(), shown, show_progress="hidden")

    def _answer_inputs(self) -> list[Any]:
        controls = [self.model, self.system, self.temperature, self.top_p, self.length]
        return [self.chat, self.language, *controls]

    async def _find_models(self, request: gr.Request) -> Any:
        """The service's models; the last one, an adapter where there is one, is chosen."""
        listed = await self._client_of(request.username).models.list()
        names = [card.id for card in listed.data]
        return gr.update(choices=names, value=names[-1])

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
        """Stream into the chat and the notice; nothing where no question waits."""
        if open_question(history) is None:
            yield gr.skip(), gr.skip(), gr.skip(), False
            return
        sampling = Sampling(model, system, temperature, top_p, int(length))
        client = self._client_of(request.username)
        async for shown in answer(client, history, sampling, LANGUAGES[language]):
            box = gr.skip() if shown.unanswered is None else shown.unanswered
            yield shown.history, shown.notice, box, True
        yield gr.skip(), gr.skip(), gr.skip(), False

    def _translated(self) -> list[Any]:
        return [
            self.title, self.greeting, self.box, self.send, self.stop, self.retry, self.undo, self.clear,
            self.settings, self.model, self.system, self.temperature, self.top_p, self.length, self.chat,
        ]  # fmt: skip

    def _translate(self, language: str) -> list[Any]:
        t = TEXTS[LANGUAGES[language]]
        buttons = [gr.update(value=v) for v in (t.send, t.stop, t.retry, t.undo, t.clear)]
        return [
            f"## {t.title}", t.greeting, gr.update(placeholder=t.ask), *buttons,
            gr.update(label=t.settings), gr.update(label=t.model),
            gr.update(label=t.system, placeholder=t.system_hint),
            gr.update(label=t.temperature), gr.update(label=t.top_p), gr.update(label=t.length),
            gr.update(placeholder=t.empty),
        ]  # fmt: skip


def _ask(
    question: str, history: History, busy: bool, language: str
) -> tuple[History, str, str, bool]:
    _require_idle(busy, language)
    if not question.strip():
        return history, "", question, False
    return [*history, {"role": "user", "content": question}], "", "", True


def _ask_again(history: History, busy: bool, language: str) -> tuple[History, bool]:
    _require_idle(busy, language)
    kept = without_last_answer(history)
    return kept, bool(kept)


def _undo(history: History) -> tuple[History, str, str, bool]:
    kept, question = without_last_turn(history)
    return kept, "", question, False


def _require_idle(busy: bool, language: str) -> None:
    """One answer at a time: a second would write into the same history."""
    if busy:
        wait = TEXTS[LANGUAGES[language]].wait
        raise gr.Error(wait, duration=4, title="medray", print_exception=False)
