SELECT CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3)), COUNT(*), COUNT(DISTINCT visitor_id)
FROM TABLE(HOP(TABLE events, DESCRIPTOR(rowtime), INTERVAL '10' SECOND, INTERVAL '1' MINUTE))
WHERE event_type = 'page_view' GROUP BY window_start, window_end
