-- Events and visitors of each bucket.
-- matching_counters (bucket, value, events): the counters of the query
-- visits (bucket, visitor): its archived events, with numbers for visitors
WITH
counts AS (
    SELECT bucket, sum(events)::BIGINT AS events
    FROM matching_counters
    GROUP BY bucket
),
pairs AS (
    SELECT DISTINCT bucket, visitor
    FROM visits
),
visitors AS (
    SELECT bucket, count(visitor) AS visitors
    FROM pairs
    GROUP BY bucket
)
SELECT bucket, events, coalesce(visitors, 0)
FROM counts LEFT JOIN visitors USING (bucket)
