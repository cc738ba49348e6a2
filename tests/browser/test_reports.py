"""Reports as files, in a browser whose network is cut: a page that asks for something shows less than what was sent."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from rtap_lab.bench.index import publish
from rtap_lab.bench.measurements import read
from rtap_lab.bench.page import page as made
from rtap_lab.errors import JobError

ROOT = Path(__file__).parents[2]
MOST_BYTES = 1_000_000


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed reports, as they are; what lies beside them is nobody's yet."""
    folder = tmp_path_factory.mktemp("sent")
    listed = subprocess.run(["git", "ls-files", "reports"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder / "reports"


@pytest.fixture(scope="module")
def remade(committed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those that have figures, their pages made anew by this version."""
    folder = tmp_path_factory.mktemp("remade")
    for run in committed.glob("*/*"):
        try:
            found = read(run)
        except JobError:  # of a version without figures
            continue
        notebook, stamp = (json.loads((run / name).read_text()) for name in ("report.ipynb", "environment.json"))
        place = folder / run.relative_to(committed) / "report.html"
        place.parent.mkdir(parents=True)
        place.write_text(made(notebook, found, stamp))
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


@pytest.mark.parametrize("which", ["committed", "remade"])
def test_every_report_is_whole_without_a_network(
    which: str, page: Page, asked: list[str], errors: list[str], request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(which)
    pages = sorted(folder.glob("*/*/report.html"))
    assert len(pages) > 5
    for each in pages:
        name = str(each.relative_to(folder))
        assert each.stat().st_size < MOST_BYTES, name
        asked.clear()
        page.goto(each.as_uri())
        assert [url for url in asked if not url.startswith("data:")] == [each.as_uri()], name
        expect(page.locator("h1").first).to_be_visible()
        assert page.title(), name
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)"), name
        assert page.pdf().startswith(b"%PDF"), name
    assert errors == []


def test_the_index_leads_to_every_report_that_has_figures(
    page: Page, committed: Path, asked: list[str], errors: list[str]
) -> None:
    index, _ = publish(committed)
    page.goto(index.as_uri())
    assert asked == [index.as_uri()]
    links = page.eval_on_selector_all("a", "links => links.map(link => link.href)")
    names = {
        each.parent.parent.name
        for each in committed.glob("*/*/metrics.json")
        if "figures" in json.loads(each.read_text())
    }
    assert names
    for name in names:
        assert any(f"/{name}/" in link for link in links), name
    for link in links:
        page.goto(link)
        expect(page.locator("h1").first).to_be_visible()
    assert errors == []
