"""The page in a real headless Chromium: log in, ask, see it stream, stop, ask again, switch the language."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medray.config.web import WebApp
from medray.serve.client.conversation import Conversation
from medray.serve.tokens import digest
from medray.serve.web.ratings import RATED
from tests.support.browser import CHROMIUM, WAIT_MS, chromium, log_in
from tests.support.scripted_api import ScriptedApi, served

gradio = pytest.importorskip("gradio", reason="needs constraints/web.txt")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.timeout(300),
]

TOKEN = "page-token-0123456789"


@pytest.fixture(scope="module")
def api() -> ScriptedApi:
    return ScriptedApi(word_s=0.15)


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ratings")


@pytest.fixture(scope="module")
def address(api: ScriptedApi, ratings: Path) -> Iterator[str]:
    from medray.serve.web.app import page_app

    with served(api.app) as url:
        settings = WebApp(url=f"{url}/v1", ratings=str(ratings))
        with served(page_app(settings, (digest(TOKEN),))) as page:
            yield page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    page.outside = []
    page.on("request", lambda r: page.outside.append(r.url))
    log_in(page, address, TOKEN)
    yield page
    page.close()


def _ask(page: Any, question: str) -> None:
    page.wait_for_timeout(1500)  # the models are being asked for
    page.locator("#box textarea").fill(question)
    page.locator("#box textarea").press("Enter")
    page.wait_for_function(
        "document.querySelector('#chat').innerText.includes('word2')", timeout=WAIT_MS
    )


def _text(page: Any) -> str:
    return page.locator("#chat").inner_text()


def test_wrong_passwords_stay_outside(browser: Any, address: str) -> None:
    page = browser.new_page()
    answer = page.request.post(f"{address}/login", form={"username": "a", "password": "wrong"})
    assert answer.status == 400
    config = page.request.get(f"{address}/config")
    assert config.status == 401
    page.close()


def test_an_answer_streams_stops_and_is_given_again(page: Any, api: ScriptedApi) -> None:
    _ask(page, "Why do I cough?")
    early = _text(page)
    page.wait_for_timeout(900)
    assert len(_text(page)) > len(early), "it does not stream"
    page.locator("#stop").click()
    page.wait_for_timeout(800)
    stopped = _text(page)
    page.wait_for_timeout(1200)
    assert _text(page) == stopped, "it did not stop"
    assert "word39" not in stopped
    num_before = len(api.bodies)
    page.locator("#retry").click()
    page.wait_for_function(
        "document.querySelector('#chat').innerText.includes('word39')", timeout=WAIT_MS
    )
    assert len(api.bodies) == num_before + 1
    assert [m["role"] for m in api.bodies[-1]["messages"]] == ["user"]
    assert api.bodies[-1]["model"] == "expert"
    page.locator("#undo").click()
    page.wait_for_timeout(1000)
    assert page.locator("#box textarea").input_value() == "Why do I cough?"
    assert "Echo" not in _text(page)
    outside = [u for u in page.outside if not u.startswith(("http://127.0.0.1", "data:", "blob:"))]
    assert not outside, "the page loads from elsewhere"


@pytest.fixture
def slowly(api: ScriptedApi) -> Iterator[None]:
    """Answers that take longer than it takes to type."""
    before, api.word_s = api.word_s, 0.7
    yield
    api.word_s = before


@pytest.mark.usefixtures("slowly")
def test_a_question_asked_meanwhile_is_kept_and_sent(page: Any, api: ScriptedApi) -> None:
    _ask(page, "First?")
    assert "Answering" in page.locator("#running").inner_text()
    num_before = len(api.bodies)
    page.locator("#box textarea").fill("Second?")
    page.locator("#box textarea").press("Enter")
    page.get_by_text("Your question is kept").wait_for(timeout=WAIT_MS)
    page.wait_for_timeout(1500)  # the answer goes on
    assert "Second?" in page.locator("#notice").inner_text()
    assert page.locator("#box textarea").input_value() == ""
    assert len(api.bodies) == num_before
    api.word_s = 0.02
    page.wait_for_function(
        "document.querySelector('#chat').innerText.includes('Echo: Second?')", timeout=WAIT_MS
    )
    assert [m["content"] for m in api.bodies[-1]["messages"]][::2] == ["First?", "Second?"]
    assert "word39" in api.bodies[-1]["messages"][1]["content"]
    page.wait_for_function(
        "document.querySelector('#running').innerText.trim() === ''", timeout=WAIT_MS
    )


@pytest.mark.usefixtures("slowly")
def test_a_question_that_waits_comes_back_when_the_answer_is_stopped(page: Any) -> None:
    _ask(page, "First?")
    page.locator("#box textarea").fill("Second?")
    page.locator("#box textarea").press("Enter")
    page.get_by_text("Your question is kept").wait_for(timeout=WAIT_MS)
    page.locator("#stop").click()
    page.wait_for_function(
        "document.querySelector('#box textarea').value === 'Second?'", timeout=WAIT_MS
    )
    page.wait_for_function(
        "document.querySelector('#running').innerText.trim() === ''", timeout=WAIT_MS
    )
    _ask(page, "Third?")  # the page takes questions again


def test_the_conversation_outlives_a_reload_in_its_tab_alone(
    page: Any, address: str, browser: Any
) -> None:
    _ask(page, "Why do I cough?")
    page.locator("#stop").click()
    page.wait_for_timeout(1500)
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function(
        "document.querySelector('#chat')?.innerText.includes('Echo: Why do I cough?')",
        timeout=WAIT_MS,
    )
    _ask(page, "And now?")
    other = browser.new_page()
    log_in(other, address, TOKEN)
    other.wait_for_timeout(2000)
    assert "cough" not in other.locator("#chat").inner_text()
    other.close()


def test_export_and_thumbs(page: Any, ratings: Path) -> None:
    _ask(page, "Why do I cough?")
    page.wait_for_function(
        "document.querySelector('#chat').innerText.includes('word39')", timeout=WAIT_MS
    )
    page.wait_for_timeout(1000)
    with page.expect_download(timeout=WAIT_MS) as download:
        page.locator("#export").click()
    assert download.value.suggested_filename == "medray-chat.json"
    saved = Conversation.load(Path(download.value.path()))
    assert [m["role"] for m in saved.messages] == ["user", "assistant"]
    page.locator("#chat button[aria-label='Like']").first.click()
    page.get_by_text("rating was stored").wait_for(timeout=WAIT_MS)
    row = json.loads((ratings / RATED).read_text().splitlines()[-1])
    assert row["label"] is True
    assert row["prompt"] == [{"role": "user", "content": "Why do I cough?"}]
    assert row["completion"][0]["content"].startswith("Echo: Why do I cough?")


def test_a_question_without_an_answer_comes_back(page: Any) -> None:
    page.wait_for_timeout(1500)
    page.locator("#box textarea").fill("busy?")
    page.locator("#box textarea").press("Enter")
    page.get_by_text("every replica is busy").wait_for(timeout=WAIT_MS)
    assert page.locator("#box textarea").input_value() == "busy?"
    assert "busy?" not in _text(page)


def test_chinese_and_the_notice_of_the_safety_hook(page: Any, tmp_path: Path) -> None:
    page.get_by_text("中文").click()
    page.wait_for_selector("button:has-text('发送')", timeout=WAIT_MS)
    assert page.locator("#box textarea").get_attribute("placeholder") == "您的问题"
    _ask(page, "chest 胸痛")
    assert "可能是急症" in page.locator("#notice").inner_text()
    page.locator("#clear").click()
    page.wait_for_function(
        "!document.querySelector('#chat').innerText.includes('Echo')", timeout=WAIT_MS
    )
    page.wait_for_timeout(1500)
    assert "Echo" not in _text(page), "the stopped answer came back"
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 10_000
