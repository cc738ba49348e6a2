-- The standard job: seven queries, the late and the rejected, one source read, one statement set.

CREATE VIEW session_input AS
SELECT visitor_id, event_type, rowtime,
  CASE WHEN event_type = 'page_view' THEN DATE_FORMAT(rowtime, 'yyyy-MM-dd HH:mm:ss.SSS') || page END AS timed_page
FROM events;

CREATE VIEW checkout_steps AS
SELECT visitor_id, event_id, rowtime, name = 'add_to_cart' AS is_cart,
  -- BIGINT first: as INT, milliseconds wrap round every 49.7 days
  CAST(TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', CAST(rowtime AS TIMESTAMP(3))) AS BIGINT) * 1000
    + EXTRACT(MILLISECOND FROM CAST(rowtime AS TIMESTAMP(3))) AS at_ms
FROM events
WHERE (event_type = 'custom' AND name = 'add_to_cart') OR (event_type = 'conversion' AND name = 'purchase');

EXECUTE STATEMENT SET BEGIN

INSERT INTO rejected
SELECT '${source}', '${run}', source_partition, source_offset, event_id, unfit, arrival
FROM events_raw WHERE unfit <> 'tick';

INSERT INTO late
SELECT '${source}', '${run}', source_partition, source_offset, event_id, lateness, event_time, arrival
FROM judged_events WHERE lateness IS NOT NULL;

INSERT INTO page_views_1m
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3)), page,
  COUNT(*), COUNT(DISTINCT visitor_id)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE))
WHERE event_type = 'page_view' GROUP BY window_start, window_end, page;

INSERT INTO traffic_hop
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3)), COUNT(*), COUNT(DISTINCT visitor_id)
FROM TABLE(HOP(TABLE events, DESCRIPTOR(rowtime), INTERVAL '10' SECOND, INTERVAL '1' MINUTE))
WHERE event_type = 'page_view' GROUP BY window_start, window_end;

INSERT INTO traffic_cumulate
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3)), COUNT(*), COUNT(DISTINCT visitor_id)
FROM TABLE(CUMULATE(TABLE events, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE, INTERVAL '1' HOUR))
WHERE event_type = 'page_view' GROUP BY window_start, window_end;

INSERT INTO sessions
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3)), visitor_id,
  COUNT(*),
  COUNT(*) FILTER (WHERE event_type = 'page_view'),
  -- by event time whatever the order of arrival; the time stamp in front has 23 characters
  SUBSTR(MIN(timed_page), 24), SUBSTR(MAX(timed_page), 24),
  COUNT(*) FILTER (WHERE event_type = 'page_view') = 1
FROM TABLE(SESSION(TABLE session_input PARTITION BY visitor_id, DESCRIPTOR(rowtime), ${gap}))
GROUP BY visitor_id, window_start, window_end;

INSERT INTO conversions_1m
SELECT CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3)), name,
  COUNT(*), SUM(COALESCE(`value`, 0))
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE))
WHERE event_type = 'conversion' GROUP BY window_start, window_end, name;

INSERT INTO cart_to_purchase
SELECT visitor_id, cart_time, purchase_time, CAST(elapsed_ms AS DOUBLE) / 1000
FROM checkout_steps
MATCH_RECOGNIZE (
  PARTITION BY visitor_id ORDER BY rowtime ASC, event_id ASC
  MEASURES C.rowtime AS cart_time, P.rowtime AS purchase_time, P.at_ms - C.at_ms AS elapsed_ms
  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW
  PATTERN (C P) WITHIN ${within}
  DEFINE C AS C.is_cart, P AS NOT P.is_cart
);

-- "then not … within": what an event-time outer join leaves without a partner
INSERT INTO checkout_abandoned
SELECT c.visitor_id, c.rowtime, c.event_id
FROM (SELECT * FROM checkout_steps WHERE is_cart) AS c
LEFT JOIN checkout_steps AS s
  ON c.visitor_id = s.visitor_id
  AND s.rowtime BETWEEN c.rowtime AND c.rowtime + ${less_than_within}
  AND (s.rowtime > c.rowtime OR s.event_id > c.event_id)
WHERE s.visitor_id IS NULL;

END;
