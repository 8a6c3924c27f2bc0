-- (site, visitors): the distinct visitors of each site between two instants, and in a row
-- without a site those of all together.
WITH
numbered AS (
    SELECT site, {site_number} AS site_number, {visitor_number} AS visitor_number
    FROM {events}
    WHERE time >= $start AND time < $end AND NOT bot
),
pairs AS (
    SELECT DISTINCT site_number, site, visitor_number
    FROM numbered
)
SELECT site, count(DISTINCT visitor_number) AS visitors
FROM pairs
GROUP BY GROUPING SETS ((site_number, site), ())
