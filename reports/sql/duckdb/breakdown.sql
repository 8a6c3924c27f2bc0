-- Events and visitors of each bucket and value, of the $limit values with the most
-- events; last, the events of all values.
-- counts (bucket, value, events): the events of the query
-- matching_events (bucket, value, visitor): its archived events
WITH
counted AS MATERIALIZED (
    FROM counts
),
top_values AS MATERIALIZED (
    SELECT value, row_number() OVER (ORDER BY sum(events) DESC, value) AS place
    FROM counted
    GROUP BY value
    ORDER BY place
    LIMIT $limit
),
-- Distinct pairs cost most: only those of values that are shown, by place, not text.
visitors AS (
    SELECT bucket, place, count(DISTINCT visitor) AS visitors
    FROM matching_events e
    JOIN top_values t ON e.value IS NOT DISTINCT FROM t.value
    GROUP BY ALL
)
SELECT c.bucket, c.value, c.events, coalesce(v.visitors, 0) AS visitors, (SELECT sum(events)::BIGINT FROM counted)
FROM counted c
JOIN top_values t ON c.value IS NOT DISTINCT FROM t.value
LEFT JOIN visitors v ON c.bucket IS NOT DISTINCT FROM v.bucket AND t.place = v.place
ORDER BY c.bucket, c.events DESC, visitors DESC, c.value
