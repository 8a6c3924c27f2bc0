-- `counted_visitors`: the distinct visitors of one local day by the values of a dimension:
-- for each site and bot, and (NULL) for all sites, all bots, or both.
-- events: of the day; value: the dimension; is_capped: whether values that kept_values
-- does not have are `(other)`; numbers stand for texts
CREATE OR REPLACE TEMP TABLE visitor_pairs AS
SELECT
    {site_number} AS site_number,
    min(site) AS site,
    bot,
    {is_capped} AND value IS NOT NULL AND c.is_kept IS NULL AS is_other,
    CASE WHEN NOT is_other THEN {value_number} END AS value_number,
    min(CASE WHEN NOT is_other THEN value END) AS value,
    {visitor_number} AS visitor,
    {is_ambiguous} AS is_ambiguous
FROM (SELECT site, bot, {value} AS value, visitor FROM {events})
LEFT JOIN (SELECT DISTINCT value AS kept_value, true AS is_kept FROM kept_values) c
    ON c.kept_value = {value_number}
GROUP BY ALL;

CREATE OR REPLACE TEMP TABLE counted_visitors AS
SELECT
    TIMESTAMP '{start}' AS bucket,
    CASE WHEN grouping(site_number) = 0 THEN min(site) END AS site,
    bot,
    NULL::VARCHAR AS event,
    '{dimension}' AS dimension,
    CASE WHEN is_other THEN '{other}' ELSE min(value) END AS value,
    0 AS events,
    count(DISTINCT visitor) AS visitors,
    bool_or(is_ambiguous) AS is_ambiguous
FROM visitor_pairs
GROUP BY GROUPING SETS (
    (is_other, value_number, site_number, bot),
    (is_other, value_number, site_number),
    (is_other, value_number, bot),
    (is_other, value_number)
)
HAVING count(*) > 0
