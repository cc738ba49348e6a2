"""Shared fixtures. A folder decides what a test needs; what is missing is named when it is skipped.

In CI (`CI=true`) nothing that should run may be skipped: a skip fails the run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from rtap_lab.lab import Lab
from rtap_lab.stack.influxd import find_influxd

ACCESS_LOG = Path(__file__).parents[2] / "shared" / "data" / "apache_access.log"
COMPILER = shutil.which("cc") or shutil.which("gcc")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# in CI the same examples each time; elsewhere new ones
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")
_SKIPPED: list[str] = []


def _kind(item: pytest.Item) -> str:
    """The folder of `tests` that a test is in."""
    return item.path.relative_to(Path(__file__).parent).parts[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = _kind(item)
        if folder in ("integration", "browser", "notebooks"):
            item.add_marker(pytest.mark.stack)
        if folder == "browser":
            item.add_marker(pytest.mark.browser)
    # the fast ones first; then those with a lab of their own, for two labs at once are too much for two cores; then those that
    # share one, the ones that kill its services last
    order = ["unit", "architecture", "bench", "contract", "integration", "browser", "notebooks"]

    def place(item: pytest.Item) -> tuple[bool, bool, int, bool, str]:
        shares = "stack" in getattr(item, "fixturenames", ())
        kind = order.index(_kind(item))
        return kind >= order.index("integration"), shares, kind, "faults" in item.path.name, item.path.name

    items.sort(key=place)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser") and CHROMIUM is None:
        pytest.skip("no Chromium: install the distribution's package")
    if item.get_closest_marker("influxd") and find_influxd() is None:
        pytest.skip("no influxd: rtap fetch influxdb")
    if item.get_closest_marker("compiler") and COMPILER is None:
        pytest.skip("no C compiler: install gcc")
    if item.get_closest_marker("tmpfs") and not _may_mount():
        pytest.skip("this system lets nobody mount a tmpfs in a namespace (unshare -Urm)")
    if item.get_closest_marker("nftables") and shutil.which("nft") is None:
        pytest.skip("no nft: install nftables")
    if item.get_closest_marker("access_log") and not ACCESS_LOG.is_file():
        pytest.skip("no access log: ../shared/data/apache_access.log is not here")


def _may_mount() -> bool:
    probe = ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True).returncode == 0


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _SKIPPED.append(report.nodeid)
    if report.failed and os.environ.get("CI") == "true":
        print(
            f"\n{report.nodeid} ({report.when}):\n{report.longreprtext}", flush=True
        )  # a run that is cut tells why, too


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _SKIPPED and os.environ.get("CI") == "true":
        print(f"\nskipped where nothing may be skipped (CI): {', '.join(_SKIPPED)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def access_log() -> Path:
    return ACCESS_LOG


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab that is up, shared by the tests of a session; short windows for patterns and sessions."""
    folder = tmp_path_factory.mktemp("lab") / "state"
    lab = Lab.up(folder, gap="20s", within="30s")
    yield lab
    lab.down()
