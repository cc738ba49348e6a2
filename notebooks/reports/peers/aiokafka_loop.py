"""A loop over aiokafka and a dict."""

import asyncio
import json

from aiokafka import AIOKafkaConsumer
from common import ADDRESS, RECORDS, TOPIC, VARIANT, Clock, minute


async def main():
    clock, counts, read = Clock("aiokafka"), {}, 0
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=ADDRESS, auto_offset_reset="earliest", group_id=None, isolation_level="read_committed")
    await consumer.start()

    def count(record):
        event = json.loads(record.value)
        key = minute(event["event_time"]), event.get("page") or ""
        counts[key] = counts.get(key, 0) + 1

    while read < RECORDS:
        if VARIANT == "default":
            count(await consumer.getone())
            read += 1
        else:
            for records in (await consumer.getmany(timeout_ms=200, max_records=5000)).values():
                for record in records:
                    count(record)
                read += len(records)
    await consumer.stop()
    clock.end(counts)


asyncio.run(main())
