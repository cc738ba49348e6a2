"""streamz: a stream of batches from confluent-kafka, decoded and accumulated; it has no event time and no durable state."""

import json

from common import ADDRESS, RECORDS, TOPIC, VARIANT, Clock, minute
from confluent_kafka import Consumer, TopicPartition
from streamz import Stream

clock, read = Clock("streamz"), 0


def counted(counts, event):
    key = minute(event["event_time"]), event.get("page") or ""
    counts[key] = counts.get(key, 0) + 1
    return counts


def counted_all(counts, events):
    for event in events:
        counted(counts, event)
    return counts


source = Stream()
if VARIANT == "default":
    source.map(json.loads).accumulate(counted, start={}).sink(lambda counts: None)
else:
    source.map(lambda values: [json.loads(value) for value in values]).accumulate(counted_all, start={}).sink(lambda counts: None)
last = source.downstreams
consumer = Consumer({"bootstrap.servers": ADDRESS, "group.id": "peer", "auto.offset.reset": "earliest", "isolation.level": "read_committed"})
partitions = consumer.list_topics(TOPIC).topics[TOPIC].partitions
consumer.assign([TopicPartition(TOPIC, p, 0) for p in partitions])
while read < RECORDS:
    values = [record.value() for record in consumer.consume(5000, 0.1) if not record.error()]
    read += len(values)
    if VARIANT == "default":
        for value in values:
            source.emit(value)
    elif values:
        source.emit(values)
(mapped,) = source.downstreams
(accumulated,) = mapped.downstreams
consumer.close()
clock.end(accumulated.state)
