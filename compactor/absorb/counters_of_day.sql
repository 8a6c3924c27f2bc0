-- Counters of a day as they add up with those of another host.
-- by_day: dimensions by quarter of an hour that become rows of a day, named with the suffix,
-- at the last of the cuts; others: UTC days of which the other host has events
SELECT
    CASE
        WHEN visitors IS NULL AND list_contains({by_day}, dimension)
        THEN list_max(list_filter({cuts}, lambda cut: cut <= bucket))
        ELSE bucket
    END AS bucket,
    site, bot, event,
    CASE WHEN visitors IS NULL AND list_contains({by_day}, dimension) THEN dimension || '{suffix}' ELSE dimension END AS dimension,
    value, events, visitors
FROM {counters}
WHERE
    visitors IS NULL
    OR NOT (
        list_contains({others}, bucket::DATE)
        OR list_contains({others}, (bucket + INTERVAL 86399 SECOND)::DATE)
    )
