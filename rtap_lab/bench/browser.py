"""What a browser sees of a live lab: when a page is painted, and when an answer is.

Drives a Chromium of this machine by playwright, which is no dependency of the package: a report that needs them says so.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import psutil
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from rtap_lab.errors import LiveError, SettingsError
from rtap_lab.lab import Lab
from rtap_lab.monitoring.latency import Seen
from rtap_lab.services.dashboard import address
from rtap_lab.stack.process import free_port
from rtap_lab.stack.supervisor import find_services
from rtap_lab.waiting import until

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

Found = TypeVar("Found")

_NAMES = ("chromium", "chromium-browser", "google-chrome")

_NOTES_ROWS = """
window.rtapReceived = [];  // rows that no frame has shown yet
window.rtapPainted = [];
const Native = window.WebSocket;
window.WebSocket = class extends Native {
  constructor(...all) {
    super(...all);
    this.addEventListener('message', event => {
      if (typeof event.data !== 'string') return;
      let found;
      try { found = JSON.parse(event.data); } catch { return; }
      for (const each of Array.isArray(found) ? found : [found])
        if (each && each.type === 'update') window.rtapReceived.push({...each, client_ms: performance.timeOrigin + performance.now()});
    });
  }
};
const drawn = new MutationObserver(() => {
  const rows = window.rtapReceived.splice(0);  // the chart has them in its data
  if (rows.length) requestAnimationFrame(() => requestAnimationFrame(() => {  // Bokeh has drawn, and that frame is over
    const painted_ms = performance.timeOrigin + performance.now();
    window.rtapPainted.push(...rows.map(each => ({...each, painted_ms})));
  }));
});
const attach = Element.prototype.attachShadow;  // components keep what they show in shadow roots
Element.prototype.attachShadow = function (...all) {
  const root = attach.apply(this, all);
  drawn.observe(root, {subtree: true, childList: true, attributes: true, attributeFilter: ['data-rows']});
  return root;
};
"""
"""Notes of each row of a page with one chart when it came, and when the frame that shows it was over."""

_FIRST_CONTENT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def drive(work: Callable[[BrowserContext], Found]) -> Found:
    """Do something with a browser that has no window and an empty profile.

    Args:
        work: What; it runs in a thread of its own, as a notebook's has a loop that runs.

    Raises:
        SettingsError: When there is no browser, or nothing to drive it with.
    """
    path = next((path for path in map(shutil.which, _NAMES) if path), None)
    if path is None or find_spec("playwright") is None:
        raise SettingsError(
            "this report drives a browser", hint=f"it needs {_NAMES[0]} on the PATH, and `pip install playwright`"
        )
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_driven, path, work).result()


def _driven(path: str, work: Callable[[BrowserContext], Found]) -> Found:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
            viewport={"width": 1280, "height": 1000},
        )
        try:
            return work(context)
        finally:
            context.close()


def first_paints(context: BrowserContext, lab: Lab, times: int) -> dict[str, list[float]]:
    """Open the dashboard again and again.

    Returns:
        Milliseconds from asking for the page: "content", until it showed anything, and "live", until a chart said that it is.
    """
    found: dict[str, list[float]] = {"content": [], "live": []}
    for _ in range(times):
        page = context.new_page()
        began = time.monotonic()
        page.goto(address(lab.endpoints.dashboard), wait_until="commit")
        page.wait_for_selector(".rtap-state[data-state=live]", timeout=60_000)
        found["live"].append((time.monotonic() - began) * 1000)
        page.wait_for_function(f"{_FIRST_CONTENT} !== undefined", timeout=10_000)
        found["content"].append(float(page.evaluate(_FIRST_CONTENT)))
        page.close()
    return found


@contextmanager
def chart_page(context: BrowserContext, lab: Lab, query: str) -> Iterator[Page]:
    """A page with the one chart of a query, which notes when its rows are painted (`painted`)."""
    from rtap_lab.dashboards.charts import LiveChart
    from rtap_lab.dashboards.single import served

    with served(lambda: LiveChart(lab.endpoints.hub, lab.catalog[query]).count("10s"), free_port()) as page_address:
        page = context.new_page()
        page.add_init_script(_NOTES_ROWS)
        page.goto(page_address)
        page.wait_for_selector(".rtap-state[data-state=live]", timeout=60_000)
        yield page
        page.close()


def painted(page: Page) -> list[tuple[Seen, float]]:
    """The rows that a chart's page was sent and has painted: as it received them, and when they were painted (ms since 1970)."""
    found: list[dict[str, Any]] = page.evaluate("window.rtapPainted.splice(0)")
    return [
        (Seen(each["channel"], row, each["appended_ms"], each["received_ms"], each["client_ms"]), each["painted_ms"])
        for each in found
        for row in each["rows"]
    ]


def sessions(lab: Lab, many: int) -> dict[str, Any]:
    """Open sessions of the dashboard as browsers do, keep them, and see what they cost its process.

    Returns:
        "open_ms" of each, "rss_mb_each", and "cores" that the process takes while all are open.
    """
    dashboard = lab.endpoints.dashboard
    process = psutil.Process(find_services(lab.state.folder)["dashboard"].pid)
    with ExitStack() as opened:
        client = opened.enter_context(httpx.Client(base_url=dashboard.address, trust_env=False, timeout=30))
        client.get(address(dashboard), follow_redirects=True)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
        before, taken = process.memory_info().rss, []
        for _ in range(many):
            began = time.monotonic()
            page = client.get("/app").raise_for_status().text
            (token, *_) = re.findall(r'"token":"([^"]+)"', page)
            socket = connect(
                f"{dashboard.address.replace('http', 'ws', 1)}/app/ws",
                origin=Origin(dashboard.address),
                subprotocols=[Subprotocol("bokeh"), Subprotocol(token)],
                additional_headers=headers,
                max_size=None,
                proxy=None,
            )
            opened.enter_context(socket)
            socket.recv(timeout=30)  # Bokeh's ACK: the session is there
            taken.append((time.monotonic() - began) * 1000)
        held = process.memory_info().rss
        spent, began = sum(process.cpu_times()[:2]), time.monotonic()
        time.sleep(10)
        cores = (sum(process.cpu_times()[:2]) - spent) / (time.monotonic() - began)
    return {"open_ms": taken, "rss_mb_each": (held - before) / 1e6 / many, "cores": cores}


def comes_back(lab: Lab, many: int, queries: list[str], *, patience: float = 30.0) -> list[float]:
    """Kill the hub's process while so many clients listen to queries that answer all the time; the supervisor starts it again.

    Returns:
        Milliseconds from the kill until each has heard again.

    Raises:
        LiveError: When a client did not hear within so many seconds.
    """
    heard: list[list[float]] = [[] for _ in range(many)]
    stop = threading.Event()

    def listen(times: list[float]) -> None:
        for _ in lab.watch(*queries, stop=stop):
            times.append(time.monotonic())

    listeners = [threading.Thread(target=listen, args=(each,), daemon=True) for each in heard]
    for each in listeners:
        each.start()
    try:
        until(lambda: all(heard), patience, lambda: LiveError("not every client heard the hub"))
        psutil.Process(find_services(lab.state.folder)["hub"].pid).kill()
        killed = time.monotonic()
        later = killed + 0.05  # what had been sent before is read by then

        def again() -> list[float]:
            return [next((at for at in times if at > later), 0.0) for times in heard]

        until(lambda: all(again()), patience, lambda: LiveError("not every client heard the new hub"), every=0.02)
        return [(at - killed) * 1000 for at in again()]
    finally:
        stop.set()
        for each in listeners:
            each.join(10)
