-- As breakdown.sql, without visitors.
-- counts (bucket, number, value, events, is_ambiguous): the events of the query
WITH
counted AS MATERIALIZED (
    FROM counts
),
top_values AS MATERIALIZED (
    SELECT number
    FROM counted
    GROUP BY number
    ORDER BY sum(events) DESC, min(value)
    LIMIT $limit
),
checked AS (
    SELECT bool_or(is_ambiguous) OR min(value) IS DISTINCT FROM max(value) AS is_ambiguous
    FROM counted
    GROUP BY number
)
SELECT
    c.bucket,
    c.value,
    c.events,
    NULL,
    (SELECT sum(events)::BIGINT FROM counted),
    (SELECT bool_or(is_ambiguous) FROM checked)
FROM counted c
JOIN top_values t ON c.number IS NOT DISTINCT FROM t.number
ORDER BY c.bucket, c.events DESC, c.value
