-- As breakdown.sql, without visitors.
-- counts (bucket, number, value, events): the events of the query, with numbers of values
WITH
counted AS MATERIALIZED (
    FROM counts
),
top_values AS MATERIALIZED (
    SELECT number, value
    FROM counted
    GROUP BY number, value
    ORDER BY sum(events) DESC, value
    LIMIT $limit
)
SELECT c.bucket, c.value, c.events, NULL, (SELECT sum(events)::BIGINT FROM counted)
FROM counted c
JOIN top_values t ON c.number IS NOT DISTINCT FROM t.number AND c.value IS NOT DISTINCT FROM t.value
ORDER BY c.bucket, c.events DESC, c.value
