-- (site, visitors, is_ambiguous): the distinct visitors of each site between two instants,
-- and in a row without a site those of all together.
SELECT
    CASE WHEN grouping(site_number) = 0 THEN min(site) END AS site,
    count(DISTINCT visitor_number) AS visitors,
    bool_or(is_ambiguous) AS is_ambiguous
FROM (
    SELECT
        {site_number} AS site_number,
        min(site) AS site,
        {visitor_number} AS visitor_number,
        {is_ambiguous} AS is_ambiguous
    FROM {events}
    WHERE time >= $start AND time < $end AND NOT bot
    GROUP BY ALL
)
GROUP BY GROUPING SETS ((site_number), ())
