-- Adds to `day_counters` the distinct visitors of one local day by the values of one
-- dimension: for each site and bot, and (NULL) for all sites, all bots, or both.
-- Parameters: $start, $end: the local day, in UTC. $dimension: its name.
INSERT INTO day_counters BY NAME
SELECT
    $start::TIMESTAMP AS bucket,
    site,
    bot,
    $dimension AS dimension,
    value,
    0 AS events,
    count(DISTINCT visitor) AS visitors
FROM dimension_values
WHERE time >= $start AND time < $end
GROUP BY GROUPING SETS ((value, site, bot), (value, site), (value, bot), (value))
HAVING count(*) > 0
