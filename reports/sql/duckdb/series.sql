-- Events and visitors of each bucket.
-- matching_counters (bucket, value, events): the counters of the query
-- matching_events (bucket, value, visitor): its archived events
WITH
counts AS (
    SELECT bucket, sum(events)::BIGINT AS events
    FROM matching_counters
    GROUP BY bucket
),
visitors AS (
    SELECT bucket, count(DISTINCT visitor) AS visitors
    FROM matching_events
    GROUP BY bucket
)
SELECT bucket, events, coalesce(visitors, 0)
FROM counts LEFT JOIN visitors USING (bucket)
