-- The tables of one source: `events_raw` is the topic as it is, `events` the counted events.
-- ${…} is filled in by rtap_lab.flink.statements; a semicolon at the end of a line ends a statement.

CREATE TABLE events_raw (
  event_id STRING,
  event_type STRING,
  event_time TIMESTAMP_LTZ(3),
  visitor_id STRING,
  name STRING,
  session_id STRING,
  page STRING,
  referrer STRING,
  campaign STRING,
  device STRING,
  country STRING,
  `value` STRING,
  properties MAP<STRING, STRING>,
  source_partition INT METADATA FROM 'partition' VIRTUAL,
  source_offset BIGINT METADATA FROM 'offset' VIRTUAL,
  arrival TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  -- why a row is no event; NULL where it is one. The order of the tests is part of the contract.
  unfit AS CASE
    WHEN event_type = '_tick' THEN 'tick'
    WHEN event_id IS NULL OR event_type IS NULL OR visitor_id IS NULL THEN 'missing'
    WHEN event_type NOT IN ('page_view', 'session_start', 'session_end', 'conversion', 'custom') THEN 'event_type'
    WHEN event_type IN ('conversion', 'custom') AND name IS NULL THEN 'missing'
    WHEN event_time IS NULL THEN 'time'
    WHEN event_time > arrival + INTERVAL '5' MINUTE THEN 'future'
    WHEN `value` IS NOT NULL AND NOT COALESCE(
      TRY_CAST(`value` AS DOUBLE) BETWEEN -1.7976931348623157E308 AND 1.7976931348623157E308, FALSE) THEN 'type'
    WHEN CARDINALITY(properties) > ${most_properties} THEN 'size'
    -- all texts together first: few records need a closer look
    WHEN CHAR_LENGTH(CONCAT_WS('', event_id, event_type, visitor_id, name, session_id, page, referrer, campaign, device, country,
      `value`, ARRAY_JOIN(MAP_KEYS(properties), ''), ARRAY_JOIN(MAP_VALUES(properties), ''))) > ${most_text} AND (
      CHAR_LENGTH(CONCAT_WS('', event_id, event_type, visitor_id, name, session_id, page, referrer, campaign, device, country,
      `value`, ARRAY_JOIN(MAP_KEYS(properties), ''), ARRAY_JOIN(MAP_VALUES(properties), ''))) > ${most_record}
      OR GREATEST(CHAR_LENGTH(event_id), CHAR_LENGTH(visitor_id), COALESCE(CHAR_LENGTH(name), 0),
        COALESCE(CHAR_LENGTH(session_id), 0), COALESCE(CHAR_LENGTH(page), 0), COALESCE(CHAR_LENGTH(referrer), 0),
        COALESCE(CHAR_LENGTH(campaign), 0), COALESCE(CHAR_LENGTH(device), 0), COALESCE(CHAR_LENGTH(country), 0),
        COALESCE(CHAR_LENGTH(`value`), 0)) > ${most_text}
      -- a name or value of the map: it as JSON, each escape as one character, and what is between two quotes
      OR REGEXP(REGEXP_REPLACE(JSON_STRING(properties), '\\(u[0-9A-F]{4}|.)', 'x'), '"[^"]{${beyond_text}}')
    ) THEN 'size'
  END,
  -- never NULL: a NULL here would end the job
  rowtime AS CASE WHEN event_time <= arrival + INTERVAL '5' MINUTE THEN event_time ELSE TO_TIMESTAMP_LTZ(0, 3) END,
  proctime AS PROCTIME(),
  -- the source keeps the greatest of each partition, so a clock that is set back takes no watermark back
  WATERMARK FOR rowtime AS arrival - ${bound}
) WITH (
  'connector' = 'kafka',
  'topic' = '${topic}',
  'properties.bootstrap.servers' = '${bootstrap}',
  'properties.group.id' = '${group}',
  'properties.allow.auto.create.topics' = 'false',
  -- an import that was broken off left records that never counted
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = '${startup}',${bounded}
  'scan.topic-partition-discovery.interval' = '0',
  'format' = 'json',
  'json.ignore-parse-errors' = 'true',
  'json.timestamp-format.standard' = 'ISO-8601',
  -- the node decoder: a wrong-typed field spoils itself only
  'json.decode.json-parser.enabled' = 'false'
);

-- how far the clock of each partition had come. What is not late by it is ahead of every watermark, in every run and
-- after every failure.
CREATE VIEW arrived_events AS
SELECT *, ${latest} AS latest FROM events_raw;

-- the first copy of an event_id, in the order of arrival
CREATE VIEW unique_events AS
SELECT event_id, event_type, event_time, visitor_id, name, session_id, page, referrer, campaign, device, country,
  `value`, properties, source_partition, source_offset, arrival, latest, rowtime
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY event_id ORDER BY proctime ASC) AS copy
  FROM arrived_events WHERE unfit IS NULL
) WHERE copy = 1;

-- late by what the topic says; the watermark is a net under it that should never catch anything
CREATE VIEW judged_events AS
SELECT *,
  CASE WHEN rowtime <= latest - ${bound} THEN 'late'
       WHEN rowtime <= CURRENT_WATERMARK(rowtime) THEN 'watermark' END AS lateness
FROM unique_events;

CREATE VIEW events AS
SELECT event_id, event_type, event_time, visitor_id, name, session_id, page, referrer, campaign, device, country,
  TRY_CAST(`value` AS DOUBLE) AS `value`, properties, arrival, rowtime
FROM judged_events WHERE lateness IS NULL;
