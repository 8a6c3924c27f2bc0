-- Events and visitors of each site and day of the time zone, without bots: over all
-- instances, and by instance. `visits` is null: they are not counted here.
-- Hashes are compared only where a day has more than one row.

CREATE INDEX analytics_counters_by_day ON analytics_counters (dimension, day);

-- Visitors of an archive that was deleted were counted before, with all UTC days of the day.
-- Null: unknown.
CREATE VIEW analytics_summary_by_instance AS
SELECT counted.instance, counted.site, counted.day, counted.events, seen.visitors, NULL::bigint AS visits
FROM (
    SELECT instance, site, day, sum(events)::bigint AS events
    FROM analytics_counters
    WHERE dimension = 'total' AND NOT bot
    GROUP BY instance, site, day
) AS counted
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN bool_or(expired IS NOT NULL) THEN max(expired)
        WHEN bool_or(visitors = '{}') THEN NULL
        WHEN count(*) <= 1 THEN coalesce(max(cardinality(visitors)), 0)
        ELSE (
            SELECT count(DISTINCT visitor)
            FROM analytics_visitors AS v, unnest(v.visitors) AS visitor
            WHERE v.instance = counted.instance AND v.day = counted.day AND v.site = counted.site
        )
    END AS visitors
    FROM analytics_visitors AS found
    WHERE found.instance = counted.instance AND found.day = counted.day AND found.site = counted.site
) AS seen;

-- Null also where several instances have visitors of a day, and one has lost their hashes:
-- how many were the same is unknown.
CREATE VIEW analytics_summary AS
SELECT counted.site, counted.day, counted.events, seen.visitors, NULL::bigint AS visits
FROM (
    SELECT site, day, sum(events)::bigint AS events
    FROM analytics_counters
    WHERE dimension = 'total' AND NOT bot
    GROUP BY site, day
) AS counted
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN count(DISTINCT instance) > 1 AND bool_or(visitors = '{}') THEN NULL
        WHEN bool_or(expired IS NOT NULL) THEN max(expired)
        WHEN bool_or(visitors = '{}') THEN NULL
        WHEN count(*) <= 1 THEN coalesce(max(cardinality(visitors)), 0)
        ELSE (
            SELECT count(DISTINCT visitor)
            FROM analytics_visitors AS v, unnest(v.visitors) AS visitor
            WHERE v.day = counted.day AND v.site = counted.site
        )
    END AS visitors
    FROM analytics_visitors AS found
    WHERE found.day = counted.day AND found.site = counted.site
) AS seen;
