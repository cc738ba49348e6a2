"""A log that forgets while it is answered: what is still there is recomputed, what is gone is said to be, and an id that comes
again after both the log and the job have forgotten it is a new event."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from rtap_lab.events.codec import encode
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.services.site import settings_document
from rtap_lab.verification.report import Report
from rtap_lab.waiting import until

RETENTION_S = 8 * 60
"""Above five minutes: an event may lie so far before its arrival's record that nothing of a shorter log can be recomputed."""

VISITORS = 5


def visits(lab: Lab, visit: int) -> None:
    """Each of some visitors looks at a page, as they do every few seconds: sessions lie across the log's beginning."""
    out = Producer({"bootstrap.servers": lab.endpoints.kafka.address, "partitioner": "murmur2_random"})
    now_ms = time.time_ns() // 1_000_000
    for n in range(VISITORS):
        event = {"event_id": f"{visit}-{n}", "event_type": "page_view", "event_time": now_ms, "visitor_id": f"v{n}"}
        out.produce(LIVE_EVENTS, encode(event | {"page": f"/{visit % 3}"}), key=f"v{n}")
    assert out.flush(30) == 0


def compared(report: Report) -> tuple[int, int]:
    """Rows of queries that were compared, and those that could not be."""
    rows = [each for each in report.compared if each.where == "topic" and each.name not in ("late", "rejected")]
    return sum(each.rows for each in rows), sum(each.expired for each in rows)


@pytest.mark.long
@pytest.mark.timeout(2_400)
def test_truth_past_the_edge_of_the_log(tmp_path: Path) -> None:
    lab = Lab.up(tmp_path / "state", gap="60s", within="20s", retention=f"{RETENTION_S}s")
    stop, errors = threading.Event(), list[BaseException]()

    def shop() -> None:
        try:
            lab.simulate(rate=30, seconds=3_000, seed=7, stop=stop)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=shop)
    thread.start()
    try:
        topics, began = Topics(lab.endpoints.kafka), time.monotonic()
        deduplication_ms = settings_document(lab.state).read().deduplication_ms
        visit = 0

        def forgot() -> bool:
            nonlocal visit
            visits(lab, visit)
            visit += 1
            # before that the job remembers an id that the log has forgotten: sent again with another time, nobody but the job knows
            return time.monotonic() - began > deduplication_ms / 1000 + 60 and all(
                start > 0 for start in topics.starts([LIVE_EVENTS]).values()
            )

        until(forgot, RETENTION_S * 2.5, lambda: AssertionError(str(topics.starts([LIVE_EVENTS]))), every=5)
        visits(lab, 0)  # the first ids once more: neither the log nor the job knows them
        visits(lab, visit - 1)  # and the newest: they are known
        stop.wait(20)  # traffic goes on, so that their windows close
        report = lab.verify(full=True)
        rows, expired = compared(report)
        print(f"{rows} rows compared, {expired} of records that are gone, {report.ledger}")
        assert report.exact, str(report)
        assert not report.runs[0].unproven
        assert rows > 100
        assert expired > 100
        assert report.ledger["duplicate"] >= VISITORS
        assert not errors, errors
    finally:
        stop.set()
        thread.join(60)
        lab.down()
