-- As series.sql, with the events from the archive, too.
-- visits (bucket, visitor): the archived events of the query, with numbers for visitors
WITH
pairs AS (
    SELECT bucket, visitor, count(*) AS events
    FROM visits
    GROUP BY ALL
)
SELECT bucket, sum(events)::BIGINT, count(visitor)
FROM pairs
GROUP BY bucket
