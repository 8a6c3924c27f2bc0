-- `counted_visitors`: the distinct visitors of one local day by the values of a dimension:
-- for each site and bot, and (NULL) for all sites, all bots, or both.
-- events: of the day; value: the dimension; is_capped: whether values that kept_values
-- does not have are `(other)`; kept_places: the sites, with values, that have rows of their
-- own, as `k`; at_place: which of them a row `e` is at; numbers stand for texts
CREATE OR REPLACE TEMP TABLE visitor_pairs AS
WITH
numbered AS NOT MATERIALIZED (
    SELECT *, {site_number} AS site_number, {value_number} AS value_number, {visitor_number} AS visitor_number
    FROM (SELECT site, bot, {value} AS value, visitor FROM {events})
),
by_value AS NOT MATERIALIZED (
    SELECT n.*, {is_capped} AND n.value IS NOT NULL AND c.is_kept IS NULL AS is_other
    FROM numbered n
    LEFT JOIN (SELECT DISTINCT value AS kept_value, true AS is_kept FROM kept_values) c
        ON c.kept_value = n.value_number
),
by_place AS NOT MATERIALIZED (
    SELECT
        CASE WHEN k.is_kept THEN e.site_number END AS site_number,
        CASE WHEN k.is_kept THEN e.site END AS site,
        e.bot,
        e.is_other,
        CASE WHEN NOT e.is_other THEN e.value_number END AS value_number,
        CASE WHEN NOT e.is_other THEN e.value END AS value,
        e.visitor_number AS visitor
    FROM by_value e
    LEFT JOIN {kept_places} k ON {at_place}
)
SELECT
    site_number,
    min(site) AS site,
    bot,
    is_other,
    value_number,
    min(value) AS value,
    visitor,
    {is_site_ambiguous} OR {is_value_ambiguous} AS is_ambiguous
FROM by_place
GROUP BY site_number, bot, is_other, value_number, visitor;

-- Pairs of numbers can be spilled; count(DISTINCT), a set for each group, cannot.
CREATE OR REPLACE TEMP TABLE counted_visitors AS
WITH
visits AS NOT MATERIALIZED (
    SELECT true AS of_site, site_number, bot, is_other, value_number, visitor FROM visitor_pairs
    UNION ALL
    SELECT DISTINCT true, site_number, NULL, is_other, value_number, visitor FROM visitor_pairs
    UNION ALL
    SELECT DISTINCT false, NULL, bot, is_other, value_number, visitor FROM visitor_pairs
    UNION ALL
    SELECT DISTINCT false, NULL, NULL, is_other, value_number, visitor FROM visitor_pairs
),
counted AS NOT MATERIALIZED (
    SELECT of_site, site_number, bot, is_other, value_number, count(visitor) AS visitors
    FROM visits
    GROUP BY of_site, site_number, bot, is_other, value_number
),
sites AS NOT MATERIALIZED (
    SELECT site_number, min(site) AS site, bool_or(is_ambiguous) OR {is_site_ambiguous} AS is_ambiguous
    FROM visitor_pairs
    GROUP BY site_number
),
shown AS NOT MATERIALIZED (
    SELECT value_number, min(value) AS value, {is_value_ambiguous} AS is_ambiguous
    FROM visitor_pairs
    GROUP BY value_number
)
SELECT
    TIMESTAMP '{start}' AS bucket,
    CASE WHEN c.of_site THEN coalesce(s.site, '{other}') END AS site,
    c.bot,
    NULL::VARCHAR AS event,
    '{dimension}' AS dimension,
    CASE WHEN c.is_other THEN '{other}' ELSE v.value END AS value,
    0 AS events,
    c.visitors,
    coalesce(s.is_ambiguous, false) OR coalesce(v.is_ambiguous, false) AS is_ambiguous
FROM counted c
LEFT JOIN sites s ON s.site_number = c.site_number
LEFT JOIN shown v ON v.value_number = c.value_number
