"""JupyterLab as `rtap lab` opens it: charts that move while the kernel is busy, magics, the authoring panel, cells of SQL."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from rtap_lab.lab import Lab
from tests.pages import SHOTS, rows_received

CHART = """import time
from rtap_lab import Lab
from rtap_lab.jupyter import setup
setup()
lab = Lab()
lab.chart("traffic_hop")
"""
BUSY = "end = time.monotonic() + 45\nwhile time.monotonic() < end:\n    sum(range(100_000))"
AUTHOR = """%load_ext rtap_lab
from rtap_lab.jupyter import author
author(lab)
"""
FLINK = "%%flink --since 1m --seconds 90\nSELECT event_type, COUNT(*) AS n FROM events GROUP BY event_type"
PYTHON = "Python 3 (ipykernel)"
# The indicator says "idle" before the session is connected; a cell that is run then makes JupyterLab start a second session for
# the notebook, and end the first ("Kernel Terminating").
READY = """name => {
  const shown = window.jupyterapp?.shell.currentWidget;
  const context = shown?.sessionContext;
  const kernel = context?.session?.kernel;
  return context?.path === name && context.isReady && !context.isTerminating
    && kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
}"""


def words(frame: str | bytes) -> str:
    """What a frame says, as far as it is text."""
    return frame if isinstance(frame, str) else frame.decode("latin-1")


class JupyterLab:
    """A JupyterLab that runs, and a page on it."""

    def __init__(self, page: Page, base: str, token: str) -> None:
        self.page, self.base, self.token = page, base, token
        self.kernel = PYTHON

    def open(self, name: str, cells: list[str], *, kernel: str = "python3", shown: str = PYTHON) -> None:
        """Open a notebook with these cells; its kernel has a name, and one that is shown.

        Its kernel is there before the page asks for it: on a slow machine JupyterLab otherwise asks which kernel to use, over
        the cells.
        """
        self.kernel = shown
        self.page.evaluate(
            """async ([base, token, name, cells, kernel, shown]) => {
              const headers = {'Content-Type': 'application/json', Authorization: `token ${token}`};
              const ask = async (method, where, body) => {
                const answer = await fetch(`${base}/api/${where}`, {method, headers, body: JSON.stringify(body)});
                if (!answer.ok) throw new Error(await answer.text());
              };
              await ask('PUT', `contents/${name}`, {type: 'notebook', format: 'json', content: {cells: cells.map(source => ({
                cell_type: 'code', metadata: {}, outputs: [], execution_count: null, source})), metadata: {kernelspec: {
                name: kernel, display_name: shown, language: kernel == 'python3' ? 'python' : 'sql'}}, nbformat: 4, nbformat_minor: 4}});
              await ask('POST', 'sessions', {path: name, name, type: 'notebook', kernel: {name: kernel}});
            }""",
            [self.base, self.token, name, cells, kernel, shown],
        )
        self.page.goto(f"{self.base}/lab/tree/{name}?token={self.token}&reset")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=60_000)
        for _ in range(240):
            self.accept_dialogs()
            if self.page.evaluate(READY, name):
                return
            self.page.wait_for_timeout(500)
        raise AssertionError(f"no kernel was ready for {name} within 120 s")

    def run(self, number: int) -> None:
        """Run a cell, once."""
        cell = self.page.locator(".jp-CodeCell").nth(number)
        cell.locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Control+Enter")
        expect(cell.locator(".jp-InputPrompt").first).not_to_have_text("[ ]:", timeout=30_000)

    def accept_dialogs(self) -> None:
        """What a user does with a question of JupyterLab's: read it (here: print it), choose the kernel, accept."""
        dialogs = self.page.locator("dialog.jp-Dialog")
        while dialogs.count():
            print("JupyterLab asked:", dialogs.first.inner_text(), flush=True)
            kernels = dialogs.first.locator("select")
            if kernels.count():
                kernels.first.select_option(label=self.kernel)
            dialogs.first.locator("button.jp-mod-accept").click()
            self.page.wait_for_timeout(500)

    def shot(self, name: str) -> None:
        if SHOTS:
            self.page.screenshot(path=str(SHOTS / f"{name}.png"))


@contextmanager
def opened(stack: Lab, page: Page, work: Path) -> Iterator[JupyterLab]:
    """JupyterLab, started in a work folder as a person would."""
    server = subprocess.Popen(
        [sys.executable, "-m", "rtap_lab.cli", "lab", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=work,
        env={**os.environ, "RTAP_STATE": str(stack.state.folder)},
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert re.match(r"http://127\.0\.0\.1:\d+/lab/tree/00_start_here.ipynb\?token=[0-9a-f]{64}$", address)
        base, token = address.split("/lab/")[0], address.split("token=")[1]
        page.goto(f"{base}/lab?token={token}&reset")  # at once: an address that is printed is there
        page.wait_for_selector(".jp-Launcher, .jp-NotebookPanel", timeout=60_000)
        yield JupyterLab(page, base, token)
    except BaseException:
        if SHOTS:
            page.screenshot(path=str(SHOTS / "jupyterlab-failed.png"))
        raise
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0


@pytest.fixture
def traffic(stack: Lab) -> Iterator[None]:
    stop = threading.Event()
    shop = threading.Thread(target=stack.simulate, kwargs={"rate": 100, "seconds": 240, "stop": stop})
    shop.start()
    yield
    stop.set()
    shop.join()


def test_a_chart_moves_while_the_kernel_is_busy(stack: Lab, page: Page, traffic: None, tmp_path: Path) -> None:
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(words(frame))))
    with opened(stack, page, tmp_path) as lab:
        lab.open("busy_test.ipynb", [CHART, BUSY])
        lab.run(0)
        page.wait_for_selector(".rtap-state[data-state=live]", timeout=120_000)
        lab.run(1)
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=busy]", timeout=60_000)
        before = rows_received(page)
        for _ in range(60):
            page.wait_for_timeout(500)
            if rows_received(page) > before + 1:
                break
        assert rows_received(page) > before + 1, "the chart stood still"
        busy = page.locator(".jp-Notebook-ExecutionIndicator[data-status=busy]")
        assert busy.count() == 1, "the kernel was to be busy"
        lab.shot("jupyterlab")
        expect(page.locator(".jp-OutputArea", has_text="Traceback")).to_have_count(0)
        told = {name for frame in sent for name in re.findall(r'"attr":"(\w+)"', frame)}
        assert "inner_width" in told, "what the browser tells the kernel of a figure was to be seen"
        assert not told & {"data", "line_color", "grid_line_color"}, "the browser's own changes went to the kernel"


def test_authored_inserted_and_asked_in_sql(stack: Lab, page: Page, traffic: None, tmp_path: Path) -> None:
    with opened(stack, page, tmp_path) as lab:
        lab.open("author_test.ipynb", [AUTHOR, FLINK])
        lab.run(0)
        panel = page.locator(".jp-CodeCell").first.locator(".jp-OutputArea")
        expect(panel.get_by_text('tumble("10s").by("page").agg(events=count())').first).to_be_visible(timeout=60_000)
        assert panel.locator("svg rect").count() == 4
        previewed = re.compile(r"^[1-9][\d,]* rows; (complete|ended after)")
        expect(panel.get_by_text(previewed).first).to_be_attached(timeout=120_000)
        lab.shot("authoring")
        size = panel.get_by_label("size")
        size.fill("7 parsecs")
        size.press("Tab")
        expect(panel.get_by_text("7 parsecs", exact=False).first).to_be_visible(timeout=30_000)
        size.fill("5s")
        size.press("Tab")
        expect(panel.get_by_text('tumble("5s")').first).to_be_visible(timeout=30_000)
        cells = page.locator(".jp-CodeCell")
        before = cells.count()
        panel.get_by_role("button", name="insert as code").click()
        expect(cells).to_have_count(before + 1, timeout=30_000)
        expect(page.get_by_text("my_query = lab.query", exact=False).first).to_be_visible()

        lab.run(before)  # the cell of SQL is the last one now
        expect(cells.nth(before).get_by_text("complete; saw all of").first).to_be_visible(timeout=120_000)

        lab.open("sql_test.ipynb", ["SHOW TABLES;", "SELEC 1;"], kernel="flink_sql", shown="Flink SQL (rtap_lab)")
        lab.run(0)
        expect(page.locator(".jp-OutputArea").get_by_text("events_raw").first).to_be_visible(timeout=60_000)
        lab.run(1)
        expect(page.locator(".jp-OutputArea").get_by_text("did you mean SELECT?", exact=False).first).to_be_visible(
            timeout=60_000
        )
        lab.shot("sql_kernel")
