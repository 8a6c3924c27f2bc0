-- All events and visitors, and whether a number stands for several visitors: the other
-- statements of a report may count by numbers alone where none does.
-- visits (visitor, number): the archived events of the query, with the number of their visitor
WITH
visitors AS (
    SELECT number, visitor, count(*) AS events
    FROM visits
    GROUP BY number, visitor
),
numbers AS (
    SELECT count(visitor) AS visitors, sum(events) AS events
    FROM visitors
    GROUP BY number
)
SELECT
    coalesce(sum(events), 0)::BIGINT,
    coalesce(sum(visitors), 0)::BIGINT,
    coalesce(bool_or(visitors > 1), false)
FROM numbers
