"""Run inside a mount namespace by test_disk: a lab on a small real file system that fills up, and is freed again.

Prints what was seen, one JSON object.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from rtap_lab.errors import ServiceError
from rtap_lab.lab import Lab
from rtap_lab.stack.disk import LOW_BYTES, ROOM_BYTES, free_bytes
from rtap_lab.waiting import until


def fill(file: Path, leave: int) -> None:
    """Take what is free, but so many bytes."""
    block = b"\0" * 1_000_000
    with file.open("ab") as ballast:
        try:
            while free_bytes(file.parent) > leave:
                ballast.write(block[: max(1, min(len(block), free_bytes(file.parent) - leave))])
                ballast.flush()
        except OSError:  # no space left: as asked
            return


def main(folder: Path) -> None:
    seen: dict[str, object] = {}
    ballast = folder / "ballast"
    lab = Lab.up(folder / "state", gap="10s", within="15s", timeout=400)
    try:
        errors: list[str] = []

        def shop() -> None:
            try:
                lab.simulate(rate=80, seconds=600)
            except ServiceError as error:
                errors.append(error.message)

        sender = threading.Thread(target=shop)
        sender.start()
        until(lambda: lab.rows("sessions"), 120, lambda: AssertionError("no sessions"))
        fill(ballast, LOW_BYTES - 50_000_000)
        seen["warned"] = lab.status()["notices"]
        seen["ok_when_low"] = lab.status()["ok"]
        fill(ballast, ROOM_BYTES - 20_000_000)
        sender.join(60)
        seen["stopped"] = errors
        try:
            lab.simulate(events=10)
        except ServiceError as error:
            seen["refused"] = error.message
        seen["exact_when_nearly_full"] = lab.verify(full=True).exact
        fill(ballast, 0)
        seen["full"] = until(lambda: [p for p in lab.status()["problems"] if "full" in p], 60)
        time.sleep(15)  # the fault itself: checkpoints, logs and the store find no space
        ballast.unlink()
        began = time.monotonic()
        seen["healed"] = until(lambda: lab.status()["ok"], 180)
        seen["healed_s"] = round(time.monotonic() - began, 1)
        lab.simulate(rate=80, seconds=15)
        report = lab.verify(full=True)
        seen["exact"], seen["report"] = report.exact, str(report)
        seen["rows"] = report.rows
    finally:
        lab.down()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
