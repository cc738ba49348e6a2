"""Notebook 7, as a person starts it: charts, the feed of events, magics and the authoring panel, without JupyterLab around them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from rtap_lab.lab import Lab
from rtap_lab.stack.process import free_port, listens
from rtap_lab.waiting import until
from tests.browser.test_jupyterlab import AUTHOR, FLINK, traffic  # noqa: F401  (a fixture)
from tests.pages import rows_received, shot

TOKEN = "of-this-test"
CELLS = [
    "%load_ext rtap_lab\nfrom rtap_lab import Lab\nlab = Lab()\nlab.chart('traffic_hop')",
    "lab.feed(keep=5)",
    "%rtap status",
    FLINK,
    AUTHOR,
]


@pytest.fixture
def notebook(stack: Lab, tmp_path: Path) -> Iterator[str]:
    """The address of a notebook with these cells, opened by Notebook 7."""
    about = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    written = {"cells": [about | {"source": source} for source in CELLS], "metadata": {"kernelspec": kernel}}
    (tmp_path / "seven.ipynb").write_text(json.dumps(written | {"nbformat": 4, "nbformat_minor": 4}))
    port = free_port()
    command = [sys.executable, "-m", "notebook", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    server = subprocess.Popen(
        [*command, f"--IdentityProvider.token={TOKEN}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**os.environ, "RTAP_STATE": str(stack.state.folder)},
    )
    try:
        until(lambda: listens(port), 60, lambda: AssertionError("Notebook 7 does not listen"))
        yield f"http://127.0.0.1:{port}/notebooks/seven.ipynb?token={TOKEN}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def test_what_is_shown_in_notebook_7(
    notebook: str,
    page: Page,
    traffic: None,  # noqa: F811
    errors: list[str],
    foreign: list[str],
) -> None:
    page.goto(notebook)
    cells = page.locator(".jp-CodeCell")
    expect(cells).to_have_count(len(CELLS), timeout=60_000)
    idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    expect(idle).to_be_attached(timeout=60_000)

    def run(number: int) -> None:
        cells.nth(number).locator(".jp-InputArea-editor").click()
        page.keyboard.press("Control+Enter")
        expect(cells.nth(number).locator(".jp-InputPrompt").first).not_to_have_text("[ ]:", timeout=30_000)

    run(0)
    page.wait_for_selector(".rtap-state[data-state=live]", timeout=120_000)
    before = rows_received(page)
    until(lambda: page.wait_for_timeout(250) or rows_received(page) > before, 60, lambda: AssertionError("stood still"))
    run(1)
    expect(cells.nth(1).locator("tr.opens")).to_have_count(5, timeout=60_000)
    run(2)
    expect(cells.nth(2).locator(".jp-OutputArea")).to_contain_text("kafka", timeout=60_000)
    run(3)
    expect(cells.nth(3).get_by_text("complete; saw all of").first).to_be_visible(timeout=120_000)
    run(4)
    panel = cells.nth(4).locator(".jp-OutputArea")
    expect(panel.get_by_text('tumble("10s").by("page").agg(events=count())').first).to_be_visible(timeout=60_000)
    shot(page, "notebook7", settled_ms=1_500)
    expect(page.locator(".jp-OutputArea", has_text="Traceback")).to_have_count(0)
    # Notebook 7.6.5 itself complains once while it reads its settings ("reading 'schema'")
    assert [each for each in errors if "/static/notebook/notebook_core" not in each] == []
    assert foreign == []
