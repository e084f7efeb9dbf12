"""The page in a real headless Chromium: log in, ask, see it stream, stop, ask again, switch the language."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medray.config.web import WebApp
from medray.serve.tokens import digest
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
def address(api: ScriptedApi) -> Iterator[str]:
    from medray.serve.web.app import page_app

    with (
        served(api.app) as url,
        served(page_app(WebApp(url=f"{url}/v1"), (digest(TOKEN),))) as page,
    ):
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


def test_one_answer_at_a_time(page: Any, api: ScriptedApi) -> None:
    _ask(page, "First?")
    num_before = len(api.bodies)
    page.locator("#box textarea").fill("Second?")
    page.locator("#box textarea").press("Enter")
    page.get_by_text("still being written").wait_for(timeout=WAIT_MS)
    assert page.locator("#box textarea").input_value() == "Second?"
    page.wait_for_function(
        "document.querySelector('#chat').innerText.includes('word39')", timeout=WAIT_MS
    )
    page.wait_for_timeout(500)
    assert len(api.bodies) == num_before
    page.locator("#send").click()
    page.wait_for_function(
        "document.querySelector('#chat').innerText.includes('Echo: Second?')", timeout=WAIT_MS
    )
    assert [m["content"] for m in api.bodies[-1]["messages"]][::2] == ["First?", "Second?"]


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
    page.wait_for_timeout(1000)
    assert "Echo" not in _text(page)
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 10_000
