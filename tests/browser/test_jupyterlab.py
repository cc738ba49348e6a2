"""JupyterLab as `rtap lab` opens it: a chart in a cell keeps moving while the kernel is busy."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading

from playwright.sync_api import Page

from rtap_lab.lab import Lab
from tests.browser.test_dashboard import SHOTS, page, rows_received  # noqa: F401

CELLS = """import time
from rtap_lab import Lab
from rtap_lab.jupyter import chart, setup
setup()
lab = Lab()
chart(lab, "traffic_hop")
"""


def accept_dialogs(page: Page) -> None:  # noqa: F811
    """What a user does with a question of JupyterLab's: read it (here: print it) and accept its default."""
    dialogs = page.locator("dialog.jp-Dialog")
    while dialogs.count():
        print("JupyterLab asked:", dialogs.first.inner_text(), flush=True)
        dialogs.first.locator("button.jp-mod-accept").click()
        page.wait_for_timeout(500)


def test_a_chart_moves_while_the_kernel_is_busy(stack: Lab, page: Page) -> None:  # noqa: F811
    server = subprocess.Popen(
        [sys.executable, "-m", "rtap_lab.cli", "lab", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "RTAP_STATE": str(stack.state.folder)},
    )
    stop = threading.Event()
    shop = threading.Thread(target=stack.simulate, kwargs={"rate": 150, "seconds": 150, "stop": stop})
    shop.start()
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert re.match(r"http://127\.0\.0\.1:\d+/lab/tree/00_start_here.ipynb\?token=[0-9a-f]{64}$", address)
        base, token = address.split("/lab/")[0], address.split("token=")[1]
        for _ in range(100):
            try:
                page.goto(f"{base}/lab?token={token}&reset", timeout=5_000)
                break
            except Exception:
                page.wait_for_timeout(300)
        page.wait_for_selector(".jp-Launcher, .jp-NotebookPanel", timeout=60_000)
        page.evaluate(
            """async ([base, token, cells]) => {
              const body = {type: 'notebook', format: 'json', content: {cells: cells.map(source => ({cell_type: 'code',
                metadata: {}, outputs: [], execution_count: null, source})), metadata: {kernelspec: {name: 'python3',
                display_name: 'Python 3', language: 'python'}}, nbformat: 4, nbformat_minor: 4}};
              const answer = await fetch(`${base}/api/contents/busy_test.ipynb?token=${token}`, {method: 'PUT',
                body: JSON.stringify(body), headers: {'Content-Type': 'application/json', Authorization: `token ${token}`}});
              if (!answer.ok) throw new Error(await answer.text());
            }""",
            [
                base,
                token,
                [CELLS, "end = time.monotonic() + 45\nwhile time.monotonic() < end:\n    sum(range(100_000))"],
            ],
        )
        # The notebook's kernel is there before the page asks for it: on a slow machine JupyterLab
        # otherwise asks which kernel to use, over the cells.
        page.evaluate(
            """async ([base, token]) => {
              const headers = {'Content-Type': 'application/json', Authorization: `token ${token}`};
              const answer = await fetch(`${base}/api/sessions`, {method: 'POST', headers, body: JSON.stringify(
                {path: 'busy_test.ipynb', name: 'busy_test.ipynb', type: 'notebook', kernel: {name: 'python3'}})});
              if (!answer.ok) throw new Error(await answer.text());
            }""",
            [base, token],
        )
        page.goto(f"{base}/lab/tree/busy_test.ipynb?token={token}&reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=60_000)
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=120_000)
        first = page.locator(".jp-CodeCell").first
        for _ in range(20):  # the kernel may still be connecting when it says idle
            accept_dialogs(page)
            first.locator(".jp-InputArea-editor").click()
            page.keyboard.press("Control+Enter")
            page.wait_for_timeout(1000)
            if "[ ]" not in first.locator(".jp-InputPrompt").first.inner_text():
                break
        page.wait_for_selector(".rtap-state[data-state=live]", timeout=120_000)
        accept_dialogs(page)
        page.locator(".jp-CodeCell").nth(1).locator(".jp-InputArea-editor").click()
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=busy]", timeout=60_000)
        before = rows_received(page)
        for _ in range(60):
            page.wait_for_timeout(500)
            if rows_received(page) > before + 1:
                break
        assert rows_received(page) > before + 1, "the chart stood still"
        assert page.locator(".jp-Notebook-ExecutionIndicator[data-status=busy]").count() == 1, (
            "the kernel was to be busy"
        )
        if SHOTS:
            page.screenshot(path=str(SHOTS / "jupyterlab.png"))
    except Exception:
        if SHOTS:
            page.screenshot(path=str(SHOTS / "jupyterlab-failed.png"))
        raise
    finally:
        stop.set()
        shop.join()
        from rtap_lab.jupyter.server import notebooks_folder

        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        (notebooks_folder() / "busy_test.ipynb").unlink(missing_ok=True)
