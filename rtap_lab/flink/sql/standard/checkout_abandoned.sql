CREATE VIEW checkout_steps AS
SELECT visitor_id, event_id, rowtime, name = 'add_to_cart' AS is_cart,
  -- BIGINT first: as INT, milliseconds wrap round every 49.7 days
  CAST(TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', CAST(rowtime AS TIMESTAMP(3))) AS BIGINT) * 1000
    + EXTRACT(MILLISECOND FROM CAST(rowtime AS TIMESTAMP(3))) AS at_ms
FROM events
WHERE (event_type = 'custom' AND name = 'add_to_cart') OR (event_type = 'conversion' AND name = 'purchase');

-- "then not … within": what an event-time outer join leaves without a partner
SELECT c.visitor_id, c.rowtime, c.event_id
FROM (SELECT * FROM checkout_steps WHERE is_cart) AS c
LEFT JOIN checkout_steps AS s
  ON c.visitor_id = s.visitor_id
  AND s.rowtime BETWEEN c.rowtime AND c.rowtime + ${less_than_within}
  AND (s.rowtime > c.rowtime OR s.event_id > c.event_id)
WHERE s.visitor_id IS NULL
