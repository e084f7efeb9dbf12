"""The page and the service behind one port of Ray Serve, with a tiny model, in a real headless Chromium."""

from __future__ import annotations

import pytest

from tests.support.browser import CHROMIUM, WAIT_MS, chromium, log_in
from tests.support.service import TOKEN, RunningService, tiny_service

gradio = pytest.importorskip("gradio", reason="needs constraints/web.txt")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.timeout(900),
]


service = tiny_service("--web", adapter=False)


def test_a_red_flag_is_answered_and_noticed_on_the_page(service: RunningService) -> None:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        log_in(page, f"{service.base}/chat/", TOKEN)
        page.wait_for_timeout(2000)  # the models are being asked for
        page.locator("#box textarea").fill("I have crushing chest pain and I am sweating")
        page.locator("#send").click()
        page.wait_for_function(
            "document.querySelector('#chat').innerText.includes('decide about care')",
            timeout=WAIT_MS,
        )
        assert "may describe an emergency" in page.locator("#notice").inner_text()
        assert "emergency number" in page.locator("#chat").inner_text()
        page.close()
    assert '"model": "tiny"' in service.log_text()
