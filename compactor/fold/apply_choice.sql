-- The rows of one dimension in `grouped`, with what `choice` does not keep: a value that
-- does not stay is `(other)`, and so is the event of a combination that does not stay.
-- choice (site, event, value, is_other): combinations that stay; event is NULL for a value
-- that stays whatever its event. Those of `(other)` stay on days of an earlier format only.
WITH
by_value AS (
    SELECT r.* REPLACE (CASE WHEN k.is_kept THEN r.value END AS value, k.is_kept IS NULL AS is_other)
    FROM grouped r
    LEFT JOIN (SELECT DISTINCT site, value, true AS is_kept FROM choice WHERE event IS NULL AND NOT is_other) k
        ON r.site IS NOT DISTINCT FROM k.site AND r.value IS NOT DISTINCT FROM k.value
    WHERE r.dimension = '{dimension}'
)
SELECT day, bucket, by_quarter, bot, site, event, dimension, value, is_other, sum(events)::BIGINT AS events
FROM (
    SELECT r.* REPLACE (CASE WHEN c.event IS NOT NULL THEN r.event END AS event)
    FROM by_value r
    LEFT JOIN choice c
        ON r.event = c.event
        AND r.is_other = c.is_other
        AND r.site IS NOT DISTINCT FROM c.site
        AND r.value IS NOT DISTINCT FROM c.value
)
GROUP BY ALL
