-- (value, events, is_ambiguous): the largest values of a dimension between two instants.
-- rows: counters; column: the one that has the value
SELECT
    min(value) AS value,
    sum(events)::BIGINT AS events,
    {is_ambiguous} AS is_ambiguous
FROM (
    SELECT {column} AS value, events
    FROM {rows}
    WHERE list_contains($names, dimension) AND visitors IS NULL AND NOT bot AND bucket >= $start AND bucket < $end
)
WHERE value IS NOT NULL AND value <> '{other}'
GROUP BY {number}
HAVING sum(events) > 0
ORDER BY events DESC, value
LIMIT {most}
