-- `new_visitors`: visitors of a UTC day that events in some parts have, and events in others
-- do not have: by day of the time zone and site, each as a keyed hash.
-- sought, others: events of these parts; day: the calendar day of `bucket`; site: its number,
-- NULL for sites that the counters have under `(other)`; prefilter: a number that costs
-- little, so that the strong ones are computed of few of the others' visitors
CREATE OR REPLACE TEMP TABLE sought_visitors AS
SELECT day, site_number, min(site) AS site, visitor_number, min(visitor) AS visitor, min(prefilter) AS prefilter
FROM (
    SELECT {day} AS day, {site} AS site_number, site, {visitor_number} AS visitor_number, visitor, {prefilter} AS prefilter
    FROM (SELECT time AS bucket, site, visitor FROM {sought} WHERE NOT bot AND visitor IS NOT NULL)
)
GROUP BY day, site_number, visitor_number;

CREATE OR REPLACE TEMP TABLE other_visitors AS
SELECT DISTINCT {day} AS day, {site} AS site_number, {visitor_number} AS visitor_number
FROM (SELECT time AS bucket, site, visitor FROM {others} WHERE NOT bot AND visitor IS NOT NULL)
WHERE {prefilter} IN (SELECT prefilter FROM sought_visitors);

CREATE OR REPLACE TEMP TABLE new_visitors AS
SELECT
    s.day,
    s.site_number,
    replace(CASE WHEN s.site_number IS NULL THEN $other ELSE s.site END, chr(0), '␀') AS site,
    left(sha256($key || s.visitor), 32) AS hash
FROM sought_visitors s
LEFT JOIN other_visitors o
    ON o.day = s.day
    AND o.site_number IS NOT DISTINCT FROM s.site_number
    AND o.visitor_number = s.visitor_number
WHERE o.day IS NULL
ORDER BY s.day, s.site_number, hash
