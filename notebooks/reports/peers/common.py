"""What the peers' programs share: each counts the records of a topic by page and minute of event time, and says what that took.

They run in virtual environments of their own, so nothing of rtap_lab is imported. Arguments: Kafka's address, the topic, how many
records it holds, the variant ("default" or "tuned"), the file for the outcome, and jars for who needs some.
"""

import json
import os
import signal
import sys
import time
from datetime import datetime
from importlib.metadata import version

ADDRESS, TOPIC, RECORDS, VARIANT, OUT = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
JARS = [each for each in sys.argv[6].split(",") if each]
MINUTE_MS = 60_000
signal.alarm(900)  # whoever started it may be gone


def minute(text):
    """The beginning of the minute of an instant, milliseconds since the epoch."""
    return int(datetime.fromisoformat(text).timestamp()) // 60 * MINUTE_MS


def below_cpu_s():
    """Processor seconds of the processes below this one, and of those that these have waited for."""
    parents, ticks = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(pid)], ticks[int(pid)] = int(fields[1]), sum(map(int, fields[11:15]))
    family = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks[pid] for pid in family - {os.getpid()}) / os.sysconf("SC_CLK_TCK")


class Clock:
    """Time and processor time from here on: imports are over.

    Of an engine that works in processes below this one, theirs too.
    """

    def __init__(self, package, below=False):
        self.package, self.below = package, below
        self.began, self.cpu = time.perf_counter(), self._cpu()

    def _cpu(self):
        return time.process_time() + (below_cpu_s() if self.below else 0.0)

    def end(self, counts):
        """Write what was counted: {(minute, page): n}."""
        rows = sorted([start, page, n] for (start, page), n in counts.items())
        spent = {"seconds": time.perf_counter() - self.began, "cpu_s": self._cpu() - self.cpu}
        with open(OUT, "w") as file:
            json.dump(spent | {"version": version(self.package), "rows": rows}, file)
