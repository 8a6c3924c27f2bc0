-- The rows of one dimension and day in `grouped`, with what does not stay as `(other)`: a value that
-- kept_values does not have, and the event of a combination that `choice` does not have.
-- A site stays where `choice` has it with the value, and a NULL event or that event.
WITH
by_value AS (
    SELECT r.* REPLACE (CASE WHEN k.is_kept THEN r.value END AS value, k.is_kept IS NULL AS is_other)
    FROM grouped r
    LEFT JOIN (SELECT *, true AS is_kept FROM kept_values) k ON r.value IS NOT DISTINCT FROM k.value
    WHERE r.dimension = '{dimension}' AND r.day = DATE '{day}'
)
SELECT day, bucket, by_quarter, bot, site, event, dimension, value, is_other, sum(events)::BIGINT AS events
FROM (
    SELECT r.* REPLACE (
        CASE WHEN c.event IS NOT NULL THEN r.event END AS event,
        CASE WHEN c.event IS NOT NULL OR s.is_kept THEN r.site END AS site
    )
    FROM by_value r
    LEFT JOIN choice c
        ON r.event = c.event
        AND r.is_other = c.is_other
        AND r.site IS NOT DISTINCT FROM c.site
        AND r.value IS NOT DISTINCT FROM c.value
    LEFT JOIN (SELECT site, value, is_other, true AS is_kept FROM choice WHERE event IS NULL) s
        ON r.is_other = s.is_other
        AND r.site IS NOT DISTINCT FROM s.site
        AND r.value IS NOT DISTINCT FROM s.value
)
GROUP BY ALL
