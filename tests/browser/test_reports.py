"""Reports as files, in a browser whose network is cut: a page that asks for something shows less than what was sent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from rtap_lab.bench.index import publish
from rtap_lab.bench.measurements import read
from rtap_lab.bench.page import page as made
from rtap_lab.errors import JobError

REPORTS = Path(__file__).parents[2] / "reports"
MOST_BYTES = 1_000_000


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed reports, each page made anew by this version."""
    folder = tmp_path_factory.mktemp("sent") / "reports"
    shutil.copytree(REPORTS, folder)
    for run in folder.glob("*/*"):
        try:
            found = read(run)
        except JobError:  # of a version without figures: its page is as it was
            continue
        notebook, stamp = (json.loads((run / name).read_text()) for name in ("report.ipynb", "environment.json"))
        (run / "report.html").write_text(made(notebook, found, stamp))
    return folder


@pytest.fixture
def asked(page: Page) -> Iterator[list[str]]:
    """What the page asks for, the network cut."""
    found: list[str] = []
    page.on("request", note := lambda request: found.append(request.url))
    page.context.set_offline(True)
    yield found
    page.context.set_offline(False)
    page.remove_listener("request", note)


def test_every_committed_report_is_whole_without_a_network(
    page: Page, reports: Path, asked: list[str], errors: list[str]
) -> None:
    pages = sorted(reports.glob("*/*/report.html"))
    assert len(pages) > 5
    for each in pages:
        assert each.stat().st_size < MOST_BYTES, each
        asked.clear()
        page.goto(each.as_uri())
        name = str(each.relative_to(reports))
        assert [url for url in asked if not url.startswith("data:")] == [each.as_uri()], name
        expect(page.locator("h1").first).to_be_visible()
        assert page.title(), name
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)"), name
        assert page.pdf().startswith(b"%PDF"), name
    assert errors == []


def test_the_index_leads_to_every_report_that_has_figures(
    page: Page, reports: Path, asked: list[str], errors: list[str]
) -> None:
    index, _ = publish(reports)
    page.goto(index.as_uri())
    assert asked == [index.as_uri()]
    links = page.eval_on_selector_all("a", "links => links.map(link => link.href)")
    newest = {
        each.parent.parent.name
        for each in reports.glob("*/*/metrics.json")
        if "figures" in json.loads(each.read_text())
    }
    assert newest
    for name in newest:
        assert any(f"/{name}/" in link for link in links), name
    for link in links:
        page.goto(link)
        expect(page.locator("h1").first).to_be_visible()
    assert errors == []
