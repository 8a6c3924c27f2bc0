-- (days, dimension, value, events, is_ambiguous): the largest values of each dimension, of
-- the last $spans[1] days, which begin at $starts[1], and so on.
-- rows: counters; dimension: SQL of it without the mark of rows of a day; is_event: the
-- dimension whose values are in another column
WITH counted AS (
    SELECT {dimension} AS dimension, CASE WHEN {is_event} THEN event ELSE value END AS value, bucket, events
    FROM {rows}
    WHERE
        list_contains($names, dimension)
        AND visitors IS NULL
        AND NOT bot
        AND bucket >= list_min($starts)
        AND bucket < $end
),
sums AS (
    SELECT
        dimension,
        min(value) AS value,
        [coalesce(sum(events) FILTER (WHERE bucket >= $starts[1]), 0), sum(events)]::BIGINT[] AS sums,
        {is_ambiguous} AS is_ambiguous
    FROM counted
    WHERE value IS NOT NULL AND value <> '{other}'
    GROUP BY dimension, {number}
),
spans AS (
    SELECT unnest($spans) AS days, dimension, value, unnest(sums) AS events, is_ambiguous FROM sums
)
SELECT days, dimension, value, events, is_ambiguous
FROM spans
WHERE events > 0
QUALIFY row_number() OVER (PARTITION BY days, dimension ORDER BY events DESC, value) <= {most}
ORDER BY days, dimension, events DESC, value
