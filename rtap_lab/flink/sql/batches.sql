-- The topic of a source whose records are batches of events, as they are: `rtap_lab.flink.columnar` reads them.

CREATE TABLE batches (
  batch BYTES,
  source_partition INT METADATA FROM 'partition' VIRTUAL,
  source_offset BIGINT METADATA FROM 'offset' VIRTUAL,
  -- the greatest event time up to and with the batch: an import writes it, so it never falls
  arrival TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR arrival AS arrival - ${bound}
) WITH (
  'connector' = 'kafka',
  'topic' = '${topic}',
  'properties.bootstrap.servers' = '${bootstrap}',
  'properties.group.id' = '${group}',
  'properties.allow.auto.create.topics' = 'false',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset',${bounded}
  'scan.topic-partition-discovery.interval' = '0',
  'format' = 'raw'
);
