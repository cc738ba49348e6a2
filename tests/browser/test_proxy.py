"""The dashboard and a chart behind a proxy that has a prefix before the lab's ports, and another name than this machine's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from rtap_lab.errors import SettingsError
from rtap_lab.lab import Lab
from rtap_lab.stack.process import free_port
from rtap_lab.waiting import until
from tests.pages import rows_received
from tests.proxy import NAME, PREFIX, proxy


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with proxy(free_port()) as address:
        lab = Lab.up(tmp_path_factory.mktemp("proxied") / "state", gap="5s", within="8s", hubs=2, proxy=address)
        try:
            yield lab
        finally:
            lab.down()


def test_the_dashboard_moves_behind_a_proxy_and_may_act(proxied: Lab, page: Page, errors: list[str]) -> None:
    asked: list[str] = []
    page.on("request", look := lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    stop = threading.Event()
    shop = threading.Thread(target=proxied.simulate, kwargs={"rate": 100, "seconds": 300, "stop": stop})
    shop.start()
    try:
        assert proxied.dashboard.startswith(f"http://{NAME}:")
        page.goto(proxied.dashboard)
        page.wait_for_selector(".rtap-state[data-state=live]", timeout=120_000)
        assert urlsplit(page.url).path == f"{PREFIX}/{urlsplit(proxied.endpoints.dashboard.address).port}/app"
        before = rows_received(page)
        until(
            lambda: page.wait_for_timeout(250) or rows_received(page) > before + 3,
            60,
            lambda: AssertionError("stood still"),
        )
        page.get_by_role("tab", name="Pipeline").click()
        page.get_by_role("button", name="verify now").click()
        proven = page.locator(".tile").filter(has=page.locator("h3", has_text="Every number recomputed"))
        expect(proven.get_by_text("✓ exact").first).to_be_visible(timeout=120_000)
    finally:
        stop.set()
        shop.join()
        page.remove_listener("request", look)
    assert errors == []
    names = {urlsplit(each).hostname for each in asked if not each.startswith(("data:", "blob:"))}
    assert names == {NAME}, "the browser needs to reach nothing but the proxy"


def test_behind_a_proxy_nobody_else_is_let_in(proxied: Lab) -> None:
    dashboard, hub = proxied.endpoints.dashboard, proxied.endpoints.hub.each[0]
    name = urlsplit(dashboard.proxied).netloc
    outside, host = dashboard.proxied.replace(NAME, "127.0.0.1"), {"Host": name}
    answer = httpx.get(f"{outside}/app", headers=host)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("./login?"), "relative: it stays behind the prefix"
    assert httpx.get(f"{outside}/login?token=wrong", headers=host).status_code == 403
    assert httpx.get(f"{dashboard}/app", headers={"Host": "evil.example"}, follow_redirects=True).status_code == 403
    there = {"Origin": "http://evil.example", "Content-Type": "application/json"}
    act = f"{dashboard}/control/act"
    with httpx.Client() as owner:
        entered = owner.get(proxied.dashboard.replace(dashboard.proxied, dashboard.address))
        assert entered.status_code == 302, "from this machine the lab is reached as before"
        assert owner.post(act, headers=there, json={"act": "verify"}).status_code == 403
        allowed = {"Origin": f"http://{name}", "Content-Type": "application/json"}
        assert owner.post(act, headers=allowed, json={"act": "nothing"}).status_code == 400, "only its page may ask"
    with pytest.raises(InvalidStatus):
        connect(hub.address, origin="http://evil.example", proxy=None)  # type: ignore[arg-type]
    with connect(hub.address, origin=f"http://{NAME}", proxy=None) as socket:  # type: ignore[arg-type]
        socket.close()


@pytest.mark.parametrize("wrong", ["hub.example.org/{port}", "https://hub.example.org/", "ftp://x/{port}"])
def test_what_is_no_proxy_is_refused_in_words(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no address with a place for a port"):
        Lab.up(tmp_path / "state", proxy=wrong)
