-- The counters of `events`, as `counting_sql` describes them, in one scan and half the
-- time: quarter of an hour, site, bot and event have few combinations, so a number stands
-- for them while values are grouped (table event_keys).
-- values: the counted dimensions; sets: (key, dimension) for each; names: WHEN
-- branches from grouping_id to the name of a dimension
SELECT
    bucket,
    site,
    bot,
    event,
    CASE dimension {names} ELSE '{total}' END AS dimension,
    value,
    events,
    NULL::BIGINT AS visitors
FROM (
    SELECT key, grouping_id({values}) AS dimension, coalesce({values}) AS value, count(*) AS events
    FROM (
        SELECT k.key, {values}
        FROM {events} e
        JOIN event_keys k
            ON time_bucket(INTERVAL 15 minutes, time) = k.bucket
            AND e.site = k.site
            AND e.bot = k.bot
            AND e.event = k.event
    )
    GROUP BY GROUPING SETS ({sets})
)
JOIN event_keys USING (key)
