CREATE VIEW session_input AS
SELECT visitor_id, event_type, rowtime,
  CASE WHEN event_type = 'page_view' THEN DATE_FORMAT(rowtime, 'yyyy-MM-dd HH:mm:ss.SSS') || page END AS timed_page
FROM events;

SELECT CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3)), visitor_id,
  COUNT(*),
  COUNT(*) FILTER (WHERE event_type = 'page_view'),
  -- by event time whatever the order of arrival; the time stamp in front has 23 characters
  SUBSTR(MIN(timed_page), 24), SUBSTR(MAX(timed_page), 24),
  COUNT(*) FILTER (WHERE event_type = 'page_view') = 1
FROM TABLE(SESSION(TABLE session_input PARTITION BY visitor_id, DESCRIPTOR(rowtime), ${gap}))
GROUP BY visitor_id, window_start, window_end
