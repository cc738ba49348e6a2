"""The dashboard and a notebook's chart in a real browser, network off but for this machine."""

from __future__ import annotations

import re
import signal
import threading
import time

import pytest
from playwright.sync_api import Page, expect

from rtap_lab.lab import Lab
from rtap_lab.live.access import issue
from rtap_lab.live.protocol import authorize
from rtap_lab.stack.supervisor import find_services
from rtap_lab.waiting import until
from tests.pages import rows_received, shot


def test_the_dashboard_moves_and_needs_no_network(stack: Lab, page: Page, foreign: list[str]) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    stop = threading.Event()
    shop = threading.Thread(target=stack.simulate, kwargs={"rate": 150, "seconds": 600, "stop": stop})
    shop.start()
    try:
        page.goto(stack.dashboard)
        page.wait_for_selector(".rtap-state[data-state=live]", timeout=120_000)
        page.wait_for_function("document.title === 'Website, live · rtap_lab'")
        page.wait_for_timeout(500)
        before = rows_received(page)
        until(
            lambda: page.wait_for_timeout(250) or rows_received(page) > before + 3,
            60,
            lambda: AssertionError("stood still"),
        )
        points = page.evaluate(
            "Bokeh.documents.map(d => [...d._all_models.values()].filter(m => m.type === 'ColumnDataSource'"
            " && (m.name || '').startsWith('rtap-')).map(m => Object.values(m.data)[0].length)).flat()"
        )
        assert sum(points) >= 3, points
        expect(page.locator(".tile").filter(has_text="Visitors in the last minute").locator(".value")).to_have_text(
            re.compile(r"[1-9][\d,]*"), timeout=90_000
        )
        page.get_by_role("button", name="run audience").first.click()
        page.get_by_role("button", name="1 h", exact=True).click()
        assert "range=3600000" in page.url, "the range is in the address: the view can be shared"
        expect(page.locator(".tile").filter(has_text="Pages").locator("td").first).to_be_visible(timeout=90_000)
        countries = page.locator(".tile").filter(has=page.locator("h3", has_text="Countries"))
        expect(countries.locator("td").first).to_be_visible(timeout=180_000)
        page.get_by_role("tab", name="Pipeline").click()
        page.get_by_role("button", name="verify every minute").click()
        proven = page.locator(".tile").filter(has=page.locator("h3", has_text="Every number recomputed"))
        expect(proven.get_by_text("✓ exact").first).to_be_visible(timeout=120_000)
        expect(proven).to_contain_text("audience/live✓ exact", timeout=120_000)
        page.get_by_role("button", name="stop verifying").click()
        expect(page.get_by_role("button", name="verify every minute")).to_be_visible(timeout=60_000)
        shot(page, "pipeline", settled_ms=2_000)
        page.get_by_role("tab", name="Overview").click()
        expect(page.locator(".rtap-proof").first).to_contain_text("✓ verified to")
        shot(page, "dashboard", settled_ms=5_000)
        page.set_viewport_size({"width": 360, "height": 780})
        page.wait_for_timeout(1_000)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            "a phone shows it without scrolling sideways"
        )
        page.set_viewport_size({"width": 1280, "height": 1100})
        errors_before = list(errors)

        seen = rows_received(page)
        assert find_services(stack.state.folder)["hub"].signal(signal.SIGKILL)
        page.wait_for_selector(".rtap-state[data-state=away]", timeout=20_000)
        expect(page.locator(".rtap-state").first).to_contain_text("stale since")
        page.wait_for_selector(".rtap-state[data-state=live]", timeout=60_000)
        until(
            lambda: page.wait_for_timeout(250) or rows_received(page) > seen, 60, lambda: AssertionError("stood still")
        )
    finally:
        stop.set()
        shop.join()
    assert foreign == []
    assert errors_before == []
    assert all("WebSocket connection" in error for error in errors), "what a browser says while the hub is away"
    until(lambda: stack.status()["ok"], 60, lambda: AssertionError(str(stack.status()["problems"])))
    stack.remove_job("audience")


def test_a_page_of_another_site_is_refused_by_the_hub(stack: Lab) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with pytest.raises(InvalidStatus):
        connect(stack.endpoints.hub.address, origin="http://evil.example", proxy=None)  # type: ignore[arg-type]
    with connect(stack.endpoints.hub.address, origin="http://127.0.0.1:5006", proxy=None) as socket:  # type: ignore[arg-type]
        socket.send(authorize(issue(stack.endpoints.hub.secret or "", time.time())))
        assert "hello" in str(socket.recv(timeout=5))
