"""A loop over kafka-python and a dict."""

import json

from common import ADDRESS, RECORDS, TOPIC, Clock, minute
from kafka import KafkaConsumer

clock, counts, read = Clock("kafka-python"), {}, 0
consumer = KafkaConsumer(TOPIC, bootstrap_servers=ADDRESS, auto_offset_reset="earliest", group_id=None, isolation_level="read_committed")
for record in consumer:
    event = json.loads(record.value)
    key = minute(event["event_time"]), event.get("page") or ""
    counts[key] = counts.get(key, 0) + 1
    read += 1
    if read == RECORDS:
        break
clock.end(counts)
consumer.close()
