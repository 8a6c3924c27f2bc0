-- All events and visitors.
-- visits (visitor): the archived events of the query, with numbers for visitors
WITH
visitors AS (
    SELECT visitor, count(*) AS events
    FROM visits
    GROUP BY visitor
)
SELECT coalesce(sum(events), 0)::BIGINT, count(visitor)
FROM visitors
