"""A disk that fills up: warned early, then nothing more is taken in, then not ok; freed, all goes on, and nothing is corrupt."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SIZE = "2600m"


@pytest.mark.long
@pytest.mark.tmpfs
def test_a_small_disk_that_fills_up_degrades_in_order_and_heals(tmp_path: Path) -> None:
    script = Path(__file__).with_name("small_disk.py")
    mounted = f'mount -t tmpfs -o size={SIZE} none "$1" && exec "$2" -m tests.integration.small_disk "$1"'
    assert script.is_file()
    done = subprocess.run(
        [str(shutil.which("unshare")), "-Urm", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable],
        capture_output=True,
        text=True,
        timeout=560,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert any("nearly full" in words for words in seen["warned"]), seen
    assert seen["ok_when_low"], "a warning is no fault"
    assert ["nearly full" in words for words in seen["stopped"]] == [True], seen
    assert "nearly full" in seen["refused"]
    assert seen["exact_when_nearly_full"]
    assert seen["full"], "a full disk is told"
    assert seen["healed"], seen
    assert seen["exact"], seen["report"]
    assert seen["rows"] > 0
    print(f"healed {seen['healed_s']} s after there was space again")
