"""The log: topics and their names, clients, reader, schema registry, feeder, importer, recorder of slices, auditor.

The only package that imports confluent_kafka. What an event is belongs to `events`; what becomes of it, to `flink` and
`reference`; what is kept as files, to `recordings`.
"""
