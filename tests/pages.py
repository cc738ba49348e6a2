"""What browser tests share: pictures of what they saw, and how many rows a page has received."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Page

SHOTS = Path(os.environ["RTAP_SHOTS"]) if os.environ.get("RTAP_SHOTS") else None
"""Where pictures go; None: none are taken."""


def shot(page: Page, name: str, *, settled_ms: int = 0) -> None:
    """Take a picture of the whole page, after so many milliseconds."""
    if SHOTS:
        page.wait_for_timeout(settled_ms)
        page.screenshot(path=str(SHOTS / f"{name}.png"), full_page=True)


def rows_received(page: Page) -> int:
    """How many rows the charts of a page have received."""
    script = "all => all.reduce((sum, e) => sum + Number(e.dataset.rows ?? 0), 0)"
    return int(page.locator(".rtap-state").evaluate_all(script))
