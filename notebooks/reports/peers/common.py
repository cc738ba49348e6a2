"""What the peers' programs share: each counts the records of a topic by page and minute of event time, and says what that took.

They run in virtual environments of their own, so nothing of rtap_lab is imported. Arguments: Kafka's address, the topic, how many
records it holds, the variant ("default" or "tuned"), and the file for the outcome.
"""

import json
import signal
import sys
import time
from datetime import datetime
from importlib.metadata import version

ADDRESS, TOPIC, RECORDS, VARIANT, OUT = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
MINUTE_MS = 60_000
signal.alarm(900)  # whoever started it may be gone


def minute(text):
    """The beginning of the minute of an instant, milliseconds since the epoch."""
    return int(datetime.fromisoformat(text).timestamp()) // 60 * MINUTE_MS


class Clock:
    """Time and processor time from here on: imports are over."""

    def __init__(self, package):
        self.package = package
        self.began, self.cpu = time.perf_counter(), time.process_time()

    def end(self, counts):
        """Write what was counted: {(minute, page): n}."""
        rows = sorted([start, page, n] for (start, page), n in counts.items())
        spent = {"seconds": time.perf_counter() - self.began, "cpu_s": time.process_time() - self.cpu}
        with open(OUT, "w") as file:
            json.dump(spent | {"version": version(self.package), "rows": rows}, file)
