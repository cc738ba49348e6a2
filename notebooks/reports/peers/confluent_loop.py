"""A loop over confluent-kafka and a dict: no window operator, no state that survives; what a bare Python program costs."""

import json

from common import ADDRESS, RECORDS, TOPIC, VARIANT, Clock, minute
from confluent_kafka import Consumer, TopicPartition

clock, counts, read = Clock("confluent-kafka"), {}, 0
consumer = Consumer({"bootstrap.servers": ADDRESS, "group.id": "peer", "auto.offset.reset": "earliest", "isolation.level": "read_committed"})
partitions = consumer.list_topics(TOPIC).topics[TOPIC].partitions
consumer.assign([TopicPartition(TOPIC, p, 0) for p in partitions])
while read < RECORDS:
    for record in [consumer.poll(1.0)] if VARIANT == "default" else consumer.consume(5000, 0.1):
        if record is None or record.error():
            continue
        event = json.loads(record.value())
        key = minute(event["event_time"]), event.get("page") or ""
        counts[key] = counts.get(key, 0) + 1
        read += 1
consumer.close()
clock.end(counts)
