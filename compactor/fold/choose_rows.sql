-- What stays of one dimension in `grouped`, of one day, within the bound. A site of
-- FOLDLOG_SITES (table `own_sites`) is a group of its own, all other sites are one.
-- kept_values: the most frequent values of each group, at most max_values; choice: as many
-- combinations of site, event and one of them. Those with equally many events stay or go
-- together, so that the choice depends on the events alone.
CREATE OR REPLACE TEMP TABLE combinations AS
SELECT
    CASE WHEN site IN (SELECT number FROM own_sites) THEN site END AS sites,
    site,
    event,
    value,
    sum(events) AS events
FROM grouped
WHERE dimension = '{dimension}'
GROUP BY ALL;

CREATE OR REPLACE TEMP TABLE kept_values AS
WITH
counted AS MATERIALIZED (
    SELECT sites, value, sum(events) AS events
    FROM combinations
    GROUP BY ALL
),
least AS (
    SELECT sites, min(events) AS least
    FROM (
        SELECT sites, events, sum(count(*)) OVER (PARTITION BY sites ORDER BY events DESC) AS most
        FROM counted
        GROUP BY sites, events
    )
    WHERE most <= $max_values
    GROUP BY sites
)
SELECT DISTINCT value
FROM counted c JOIN least l ON c.sites IS NOT DISTINCT FROM l.sites
WHERE c.events >= l.least;

CREATE OR REPLACE TEMP TABLE choice AS
WITH
possible AS MATERIALIZED (
    SELECT c.*, k.is_kept IS NOT NULL AS is_kept
    FROM combinations c
    LEFT JOIN (SELECT *, true AS is_kept FROM kept_values) k ON c.value IS NOT DISTINCT FROM k.value
),
least AS (
    SELECT sites, min(events) AS least
    FROM (
        SELECT sites, events, sum(count(*)) OVER (PARTITION BY sites ORDER BY events DESC) AS most
        FROM possible
        WHERE is_kept
        GROUP BY sites, events
    )
    WHERE most <= $max_values
    GROUP BY sites
)
SELECT p.site, p.event, p.value, false AS is_other
FROM possible p JOIN least l ON p.sites IS NOT DISTINCT FROM l.sites
WHERE p.is_kept AND p.events >= l.least
UNION
SELECT site, NULL, CASE WHEN is_kept THEN value END, NOT is_kept
FROM possible
WHERE sites IS NOT NULL
