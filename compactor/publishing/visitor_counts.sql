-- Visitors of a day of the time zone, by site. Sites that the counters have under `(other)`
-- count as one.
-- events: (day, site_number, site, visitor_number)
SELECT replace(CASE WHEN site_number IS NULL THEN $other ELSE min(site) END, chr(0), '␀') AS site, count(*) AS visitors
FROM (
    SELECT site_number, min(site) AS site
    FROM {events}
    WHERE day = $local
    GROUP BY site_number, visitor_number
)
GROUP BY site_number
