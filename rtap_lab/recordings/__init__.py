"""What is recorded, as files and values: sources, input files and their lines, slices, refused records.

What goes from here to Kafka and back is in `rtap_lab.kafka`; no Kafka client belongs here.
"""
