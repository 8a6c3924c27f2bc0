-- Events and visitors of each bucket and value, of the $limit values with the most
-- events; last, the events of all values.
-- counts (bucket, number, value, events): the events of the query, with numbers of values
-- visits (bucket, number, value, visitor): its archived events, with numbers for visitors
WITH
counted AS MATERIALIZED (
    FROM counts
),
top_values AS MATERIALIZED (
    SELECT number, value, row_number() OVER (ORDER BY sum(events) DESC, value)::USMALLINT AS place
    FROM counted
    GROUP BY number, value
    ORDER BY place
    LIMIT $limit
),
-- Distinct pairs cost most: only those of values that are shown, by place. Pairs of
-- numbers can be spilled; count(DISTINCT), a set for each group, cannot.
pairs AS (
    SELECT DISTINCT e.bucket, t.place, e.visitor
    FROM visits e
    JOIN top_values t ON e.number IS NOT DISTINCT FROM t.number AND e.value IS NOT DISTINCT FROM t.value
),
visitors AS (
    SELECT bucket, place, count(visitor) AS visitors
    FROM pairs
    GROUP BY ALL
)
SELECT c.bucket, c.value, c.events, coalesce(v.visitors, 0) AS visitors, (SELECT sum(events)::BIGINT FROM counted)
FROM counted c
JOIN top_values t ON c.number IS NOT DISTINCT FROM t.number AND c.value IS NOT DISTINCT FROM t.value
LEFT JOIN visitors v ON c.bucket IS NOT DISTINCT FROM v.bucket AND t.place = v.place
ORDER BY c.bucket, c.events DESC, visitors DESC, c.value
