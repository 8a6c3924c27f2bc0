-- Sums of visits by bucket and value, of the values that are wanted; last, of all.
-- matching_visits (bucket, value, visits, bounces, views, duration_ms, events): sums, or
-- visits; number: stands for a value; wanted: (number, value)
WITH
counted AS MATERIALIZED (
    SELECT
        bucket,
        number,
        value,
        sum(visits)::BIGINT AS visits,
        sum(bounces)::BIGINT AS bounces,
        sum(views)::BIGINT AS views,
        sum(duration_ms)::BIGINT AS duration_ms,
        sum(events)::BIGINT AS events
    FROM (SELECT *, {number} AS number FROM matching_visits)
    GROUP BY bucket, number, value
),
wanted AS MATERIALIZED (
    {wanted}
)
SELECT false AS is_total, c.bucket, c.value, c.visits, c.bounces, c.views, c.duration_ms, c.events
FROM counted c
JOIN wanted w ON w.number IS NOT DISTINCT FROM c.number AND w.value IS NOT DISTINCT FROM c.value
UNION ALL
SELECT
    true,
    NULL,
    NULL,
    sum(visits)::BIGINT,
    sum(bounces)::BIGINT,
    sum(views)::BIGINT,
    sum(duration_ms)::BIGINT,
    sum(events)::BIGINT
FROM counted
