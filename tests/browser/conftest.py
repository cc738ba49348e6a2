"""A browser without a network, and what its pages ask for and complain of."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.conftest import CHROMIUM


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")),
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-quic",
                "--no-first-run",
            ],
            viewport={"width": 1280, "height": 1100},
        )
        page = context.new_page()
        yield page
        context.close()


@pytest.fixture
def foreign(page: Page) -> Iterator[list[str]]:
    """Addresses off this machine that the page asked for."""
    asked: list[str] = []

    def look(request: object) -> None:
        url = request.url  # type: ignore[attr-defined]
        if not re.match(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:", url):
            asked.append(url)

    page.on("request", look)
    yield asked
    page.remove_listener("request", look)


@pytest.fixture
def errors(page: Page) -> Iterator[list[str]]:
    """What the page's console complains of."""
    found: list[str] = []
    page.on("pageerror", on_error := lambda error: found.append(f"{error}\n{error.stack}"))
    page.on("console", on_console := lambda said: found.append(said.text) if said.type == "error" else None)
    yield found
    page.remove_listener("pageerror", on_error)
    page.remove_listener("console", on_console)
