CREATE VIEW conversion_input AS
SELECT name, rowtime, COALESCE(`value`, 0) AS worth FROM events WHERE event_type = 'conversion';

SELECT CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3)), name, COUNT(*),
  -- in whole millionths: doubles do not add up exactly
  CAST(SUM(CASE WHEN ABS(worth) < 9E18 THEN CAST(CAST(worth AS BIGINT) AS DECIMAL(19, 0)) * 1000000
    + CAST(ROUND((worth - CAST(worth AS BIGINT)) * 1E6) AS BIGINT) END) AS DOUBLE) / 1E6
FROM TABLE(TUMBLE(TABLE conversion_input, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, name
