-- Events and visitors of the last minutes and of the shorter time at their end: of all
-- (dimension 0), and of the $limit values with the most visitors of each dimension.
-- recent (site, path, source, with a number each; visitor, number, is_last): the events
WITH
seen AS MATERIALIZED (
    FROM recent
),
valued AS (
    SELECT 0 AS dimension, NULL::UBIGINT AS value_number, NULL::VARCHAR AS value, number, visitor, is_last FROM seen
    UNION ALL
    SELECT 1, site_number, site, number, visitor, is_last FROM seen
    UNION ALL
    SELECT 2, path_number, path, number, visitor, is_last FROM seen
    UNION ALL
    SELECT 3, source_number, source, number, visitor, is_last FROM seen
),
-- Texts are grouped beside their numbers.
pairs AS (
    SELECT
        dimension, value_number, value, number, visitor,
        count(*) AS events,
        count(*) FILTER (WHERE is_last) AS last_events
    FROM valued
    GROUP BY dimension, value_number, value, number, visitor
),
counted AS (
    SELECT
        dimension, value,
        sum(last_events)::BIGINT AS last_events,
        count(visitor) FILTER (WHERE last_events > 0) AS last_visitors,
        sum(events)::BIGINT AS events,
        count(visitor) AS visitors
    FROM pairs
    GROUP BY dimension, value_number, value
),
placed AS (
    SELECT *, row_number() OVER (PARTITION BY dimension ORDER BY visitors DESC, events DESC, value) AS place
    FROM counted
)
SELECT dimension, value, last_events, last_visitors, events, visitors
FROM placed
WHERE place <= $limit
ORDER BY dimension, place
