"""PyFlink: the DataStream API with Python functions on a cluster of its own process, bundles and buffers as they come."""

import json
from datetime import datetime

from common import ADDRESS, JARS, TOPIC, VARIANT, Clock
from pyflink.common import Configuration, Duration, Time, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource
from pyflink.datastream.functions import AggregateFunction, ProcessWindowFunction
from pyflink.datastream.window import TumblingEventTimeWindows

clock = Clock("apache-flink", below=True)
settings = Configuration()
if VARIANT == "tuned":
    settings.set_string("python.fn-execution.bundle.size", "100000")
    settings.set_string("python.fn-execution.arrow.batch.size", "100000")
    settings.set_string("pipeline.object-reuse", "true")
env = StreamExecutionEnvironment.get_execution_environment(settings)
env.set_parallelism(1)
env.add_jars(*(f"file://{each}" for each in JARS))


class EventTime(TimestampAssigner):
    def extract_timestamp(self, value, record_timestamp):
        return value[1]


class Count(AggregateFunction):
    def create_accumulator(self):
        return 0

    def add(self, value, accumulator):
        return accumulator + 1

    def get_result(self, accumulator):
        return accumulator

    def merge(self, a, b):
        return a + b


class Minute(ProcessWindowFunction):
    def process(self, key, context, elements):
        yield key, context.window().start, next(iter(elements))


def decode(text):
    event = json.loads(text)
    return event.get("page") or "", int(datetime.fromisoformat(event["event_time"]).timestamp() * 1000)


source = (
    KafkaSource.builder()
    .set_bootstrap_servers(ADDRESS)
    .set_topics(TOPIC)
    .set_starting_offsets(KafkaOffsetsInitializer.earliest())
    .set_bounded(KafkaOffsetsInitializer.latest())
    .set_property("isolation.level", "read_committed")
    .set_value_only_deserializer(SimpleStringSchema())
    .build()
)
times = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_days(1)).with_timestamp_assigner(EventTime())
counted = (
    env.from_source(source, WatermarkStrategy.no_watermarks(), "kafka")
    .map(decode, output_type=Types.TUPLE([Types.STRING(), Types.LONG()]))
    .assign_timestamps_and_watermarks(times)
    .key_by(lambda each: each[0], key_type=Types.STRING())
    .window(TumblingEventTimeWindows.of(Time.minutes(1)))
    .aggregate(
        Count(),
        Minute(),
        accumulator_type=Types.LONG(),
        output_type=Types.TUPLE([Types.STRING(), Types.LONG(), Types.LONG()]),
    )
)
with counted.execute_and_collect() as rows:
    counts = {(start, page): n for page, start, n in rows}
clock.end(counts)
