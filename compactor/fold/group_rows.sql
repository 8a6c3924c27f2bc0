-- The counts of one dimension, as rows of `grouped`. Numbers stand for texts; in the rows of
-- the dimension `event`, `value` is the event.
-- by_quarter: whether a row is of a quarter of an hour; excluded: days without these rows
SELECT
    day,
    CASE WHEN {by_quarter} THEN quarter ELSE cut END AS bucket,
    {by_quarter} AS by_quarter,
    bot,
    site,
    {event} AS event,
    '{dimension}' AS dimension,
    {value} AS value,
    false AS is_other,
    sum(weight)::BIGINT AS events
FROM counted_rows
WHERE NOT list_contains({excluded}::DATE[], day)
GROUP BY ALL
HAVING sum(weight) <> 0
