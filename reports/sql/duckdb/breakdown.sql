-- Events and visitors of each bucket and value, of the $limit values with the most
-- events; then the events of all values, and whether a number stands for several of them.
-- counts (bucket, number, value, events, is_ambiguous): the events of the query
-- visits (bucket, number, visitor): its archived events, with numbers for texts
WITH
counted AS MATERIALIZED (
    FROM counts
),
top_values AS MATERIALIZED (
    SELECT number, row_number() OVER (ORDER BY sum(events) DESC, min(value))::USMALLINT AS place
    FROM counted
    GROUP BY number
    ORDER BY place
    LIMIT $limit
),
-- Distinct pairs cost most: only those of values that are shown, by place. Pairs of
-- numbers can be spilled; count(DISTINCT), a set for each group, cannot.
pairs AS (
    SELECT DISTINCT e.bucket, t.place, e.visitor
    FROM visits e
    JOIN top_values t ON e.number IS NOT DISTINCT FROM t.number
),
visitors AS (
    SELECT bucket, place, count(visitor) AS visitors
    FROM pairs
    GROUP BY ALL
),
-- A number may be of one text in each bucket, and not of the same.
checked AS (
    SELECT bool_or(is_ambiguous) OR min(value) IS DISTINCT FROM max(value) AS is_ambiguous
    FROM counted
    GROUP BY number
)
SELECT
    c.bucket,
    c.value,
    c.events,
    coalesce(v.visitors, 0) AS visitors,
    (SELECT sum(events)::BIGINT FROM counted),
    (SELECT bool_or(is_ambiguous) FROM checked)
FROM counted c
JOIN top_values t ON c.number IS NOT DISTINCT FROM t.number
LEFT JOIN visitors v ON c.bucket IS NOT DISTINCT FROM v.bucket AND t.place = v.place
ORDER BY c.bucket, c.events DESC, visitors DESC, c.value
