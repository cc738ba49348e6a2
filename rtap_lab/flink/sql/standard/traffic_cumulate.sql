SELECT CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3)), COUNT(*), COUNT(DISTINCT visitor_id)
FROM TABLE(CUMULATE(TABLE events, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE, INTERVAL '1' HOUR))
WHERE event_type = 'page_view' GROUP BY window_start, window_end
