"""What a report's kernel leaves behind when it is shut down amid a cell."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from rtap_lab.bench.reports import scratch


def test_what_was_started_in_the_reports_folder_ends_with_it() -> None:
    before = tempfile.gettempdir()
    with scratch() as folder:
        asked = subprocess.run(
            [sys.executable, "-c", "import tempfile; print(tempfile.mkdtemp())"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert Path(asked.stdout.strip()).parent == folder, "the kernel's temporary folders are in it"
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(folder / "influxdb")])
    assert left.wait(10) is not None, "else this waits for a minute"
    assert not folder.exists()
    assert (
        subprocess.run(
            [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        == before
    )
