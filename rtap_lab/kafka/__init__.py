"""The log: topics, clients, the schema registry, the feeder, and the importer of real input.

The only package that imports confluent_kafka. What an event is belongs to `events`; what becomes of
it, to `flink` and `streams`.
"""
