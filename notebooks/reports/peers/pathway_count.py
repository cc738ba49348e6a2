"""pathway: its Kafka reader (static: it ends), tumbling windows by event time."""


import pathway as pw
from common import ADDRESS, TOPIC, Clock, minute

clock, counts = Clock("pathway"), {}


class Event(pw.Schema):
    event_time: str
    page: str | None = pw.column_definition(default_value=None)


settings = {"bootstrap.servers": ADDRESS, "group.id": "peer-pathway", "auto.offset.reset": "earliest", "isolation.level": "read_committed"}
events = pw.io.kafka.read(settings, topic=TOPIC, format="json", schema=Event, mode="static", autocommit_duration_ms=500)
times = events.select(page=pw.coalesce(pw.this.page, ""), at=pw.apply_with_type(minute, int, pw.this.event_time))
counted = times.groupby(pw.this.page, pw.this.at).reduce(pw.this.page, pw.this.at, n=pw.reducers.count())


def keep(key, row, time, is_addition):
    if is_addition:
        counts[row["at"], row["page"]] = row["n"]


pw.io.subscribe(counted, on_change=keep)
pw.run(monitoring_level=pw.MonitoringLevel.NONE)
clock.end(counts)
