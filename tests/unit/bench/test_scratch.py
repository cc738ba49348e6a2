"""What a report's kernel leaves behind when it is shut down amid a cell."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rtap_lab.bench.reports import scratch


def test_what_was_started_in_the_reports_folder_ends_with_it() -> None:
    before, before_it = tempfile.gettempdir(), dict(os.environ)
    with scratch() as folder:
        asked = subprocess.run(
            [sys.executable, "-c", "import tempfile; print(tempfile.mkdtemp())"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert Path(asked.stdout.strip()).parent == folder, "the kernel's temporary folders are in it"
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        named = subprocess.Popen([*sleep, str(folder / "influxdb")], env=before_it)
        worker = subprocess.Popen(sleep)
        other = subprocess.Popen(sleep, env=before_it)
    named.wait(10)
    worker.wait(10)
    assert other.poll() is None, "what does not work in it goes on"
    other.kill()
    other.wait(10)
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
