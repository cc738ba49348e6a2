"""quixstreams: keyed again by page (a topic in between), tumbling windows, state on disk."""

import logging
import uuid

from common import ADDRESS, RECORDS, TOPIC, VARIANT, Clock, minute
from quixstreams import Application

clock, counts = Clock("quixstreams"), {}
tuned = {"commit_every": 50_000, "consumer_extra_config": {"fetch.min.bytes": 65536}} if VARIANT == "tuned" else {}
app = Application(broker_address=ADDRESS, consumer_group=f"peer-{VARIANT}-{uuid.uuid4().hex[:8]}", auto_offset_reset="earliest", loglevel=logging.WARNING, state_dir=f"state-{VARIANT}", **tuned)
topic = app.topic(TOPIC, value_deserializer="json", timestamp_extractor=lambda value, headers, timestamp, kind: minute(value["event_time"]))
frame = app.dataframe(topic)
frame = frame.group_by(lambda value: value.get("page") or "(none)", name="page")
frame = frame.tumbling_window(60_000, grace_ms=86_400_000).count().current()


def keep(value, key, timestamp, headers):
    page = key.decode() if isinstance(key, bytes) else key
    counts[value["start"], "" if page == "(none)" else page] = value["value"]


frame.update(keep, metadata=True)
app.run(count=2 * RECORDS, timeout=10, collect=False)
clock.end(counts)
