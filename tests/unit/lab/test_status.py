"""What a status says."""

from __future__ import annotations

import subprocess
import sys

from rtap_lab.stack.service import ServiceStatus


def test_a_service_whose_process_is_gone_is_not_shown_as_ready() -> None:
    from rtap_lab.lab.status import _service

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    shown = _service("kafka", ServiceStatus("ready", pid=gone.pid))
    assert shown["state"] == "dead"
    assert shown["rss_mb"] is None
