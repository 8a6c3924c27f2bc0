-- The choice of what stays of one dimension in `grouped`, of one day, within the bound: of
-- each group of sites at most $max_values values and at most as many combinations with an
-- event. Values with equally many events stay or go together, so that the choice depends
-- on the events alone. A site of FOLDLOG_SITES (table `own_sites`) is a group of its own,
-- all others are one. The result: combinations (site, event, value) that stay; event is
-- NULL for a value that stays whatever its event.
WITH
rows_of_it AS NOT MATERIALIZED (
    SELECT *, CASE WHEN site IN (SELECT number FROM own_sites) THEN site END AS sites
    FROM grouped
    WHERE dimension = '{dimension}'
),
combinations AS MATERIALIZED (
    SELECT sites, site, event, value, sum(events) AS events
    FROM rows_of_it
    GROUP BY ALL
),
site_values AS MATERIALIZED (
    SELECT sites, site, value, sum(events) AS events
    FROM combinations
    GROUP BY ALL
),
value_least AS (
    SELECT sites, min(events) AS least
    FROM (
        SELECT sites, events, sum(count(*)) OVER (PARTITION BY sites ORDER BY events DESC) AS most
        FROM site_values
        GROUP BY sites, events
    )
    WHERE most <= $max_values
    GROUP BY sites
),
kept_values AS MATERIALIZED (
    SELECT v.sites, v.site, v.value
    FROM site_values v JOIN value_least l ON v.sites IS NOT DISTINCT FROM l.sites
    WHERE v.events >= l.least
),
combination_least AS (
    SELECT sites, min(events) AS least
    FROM (
        SELECT c.sites, c.events, sum(count(*)) OVER (PARTITION BY c.sites ORDER BY c.events DESC) AS most
        FROM combinations c
        JOIN kept_values k ON c.site IS NOT DISTINCT FROM k.site AND c.value IS NOT DISTINCT FROM k.value
        GROUP BY c.sites, c.events
    )
    WHERE most <= $max_values
    GROUP BY sites
),
kept_combinations AS (
    SELECT c.site, c.event, c.value
    FROM combinations c
    JOIN kept_values k ON c.site IS NOT DISTINCT FROM k.site AND c.value IS NOT DISTINCT FROM k.value
    JOIN combination_least l ON c.sites IS NOT DISTINCT FROM l.sites
    WHERE c.events >= l.least
)
SELECT site, NULL AS event, value, false AS is_other FROM kept_values
UNION ALL
SELECT site, event, value, false AS is_other FROM kept_combinations
