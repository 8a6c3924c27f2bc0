-- (days, dimension, value, events): the largest values of each dimension, of the last
-- $spans[1] days, which begin at $starts[1], and so on.
-- rows: counters; dimension: SQL of it without the mark of rows of a day; is_event: the
-- dimension whose values are in another column
WITH
counted AS (
    SELECT {dimension} AS dimension, CASE WHEN {is_event} THEN event ELSE value END AS value, bucket, events
    FROM {rows}
    WHERE
        list_contains($names, dimension)
        AND visitors IS NULL
        AND NOT bot
        AND bucket >= list_min($starts)
        AND bucket < $end
),
numbered AS (
    SELECT *, {number} AS number
    FROM counted
    WHERE value IS NOT NULL AND value <> '{other}'
),
sums AS (
    SELECT
        dimension,
        value,
        [coalesce(sum(events) FILTER (WHERE bucket >= $starts[1]), 0), sum(events)]::BIGINT[] AS sums
    FROM numbered
    GROUP BY dimension, number, value
),
spans AS (
    SELECT unnest($spans) AS days, dimension, value, unnest(sums) AS events FROM sums
)
SELECT days, dimension, value, events
FROM spans
WHERE events > 0
QUALIFY row_number() OVER (PARTITION BY days, dimension ORDER BY events DESC, value) <= {most}
ORDER BY days, dimension, events DESC, value
