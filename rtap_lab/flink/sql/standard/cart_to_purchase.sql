CREATE VIEW checkout_steps AS
SELECT visitor_id, event_id, rowtime, name = 'add_to_cart' AS is_cart,
  -- BIGINT first: as INT, milliseconds wrap round every 49.7 days
  CAST(TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', CAST(rowtime AS TIMESTAMP(3))) AS BIGINT) * 1000
    + EXTRACT(MILLISECOND FROM CAST(rowtime AS TIMESTAMP(3))) AS at_ms
FROM events
WHERE (event_type = 'custom' AND name = 'add_to_cart') OR (event_type = 'conversion' AND name = 'purchase');

SELECT visitor_id, cart_time, purchase_time, CAST(elapsed_ms AS DOUBLE) / 1000
FROM checkout_steps
MATCH_RECOGNIZE (
  PARTITION BY visitor_id ORDER BY rowtime ASC, event_id ASC
  MEASURES C.rowtime AS cart_time, P.rowtime AS purchase_time, P.at_ms - C.at_ms AS elapsed_ms
  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW
  PATTERN (C P) WITHIN ${within}
  DEFINE C AS C.is_cart, P AS NOT P.is_cart
)
