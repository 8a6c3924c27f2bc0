-- All events and visitors, and whether a fast number stands for several visitors: the
-- other statements of a report may count by those where it does not.
-- visits (visitor, fast): the archived events of the query, with the strong and the fast
-- number of their visitor
WITH
visitors AS (
    SELECT visitor, min(fast) AS fast, count(*) AS events
    FROM visits
    GROUP BY visitor
),
-- Numbers can be spilled, however many visitors there are.
numbers AS (
    SELECT count(visitor) AS visitors, sum(events) AS events
    FROM visitors
    GROUP BY fast
)
SELECT
    coalesce(sum(events), 0)::BIGINT,
    coalesce(sum(visitors), 0)::BIGINT,
    coalesce(bool_or(visitors > 1), false)
FROM numbers
