"""bytewax: its Kafka source, event-time clock and tumbling windows. Nothing is late: it waits for a day."""

import json
from datetime import datetime, timedelta, timezone

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower
from bytewax.testing import run_main
from common import ADDRESS, TOPIC, VARIANT, Clock
from confluent_kafka import OFFSET_BEGINNING

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
clock, counts = Clock("bytewax"), {}
sizes = {"default": 1, "tuned": 10_000}
flow = Dataflow("count")
source = KafkaSource([ADDRESS], [TOPIC], tail=False, starting_offset=OFFSET_BEGINNING, batch_size=sizes[VARIANT], add_config={"isolation.level": "read_committed"})
read = op.input("read", flow, source)


def decode(record):
    event = json.loads(record.value)
    return event.get("page") or "", datetime.fromisoformat(event["event_time"])


pages = op.map("decode", read, decode)
times = EventClock(ts_getter=lambda each: each[1], wait_for_system_duration=timedelta(days=1))
windows = TumblingWindower(length=timedelta(minutes=1), align_to=EPOCH)
counted = win.count_window("count", pages, times, windows, key=lambda each: each[0])


def keep(each):
    page, (window, n) = each
    counts[window * 60_000, page] = n


op.inspect("keep", op.map("kept", counted.down, lambda each: keep(each)), lambda name, each: None)
run_main(flow)
clock.end(counts)
