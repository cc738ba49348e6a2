SELECT CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3)), name,
  COUNT(*), SUM(COALESCE(`value`, 0))
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE))
WHERE event_type = 'conversion' GROUP BY window_start, window_end, name
