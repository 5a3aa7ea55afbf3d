"""Fixtures of pages in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.report.browser import CHROMIUM, WIDE, Open


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's `chromium` driven by Playwright; skipped where either is absent."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any, address: str) -> Iterator[Open]:
    """Opens the page; what the browser complains of, or asks the network for, fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_page(width: int = WIDE, **settings: Any) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, offline=True, **settings
        )
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:"))
                or complaints.append(f"asked for {request.url}")
            ),
        )
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
