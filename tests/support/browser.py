"""A real headless Chromium for tests of the web chat."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
WAIT_MS = 60_000


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, closed after the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def log_in(page: Any, address: str, token: str) -> None:
    """Open the chat and log in with `token`."""
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_selector("input[type=password]", timeout=WAIT_MS)
    page.locator("input").first.fill("ana")
    page.locator("input[type=password]").fill(token)
    page.locator("button").first.click()
    page.wait_for_selector("#box textarea", timeout=WAIT_MS)
