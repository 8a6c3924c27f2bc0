-- (start, site, events, is_ambiguous): the events of each day, of the largest sites and,
-- without a name, of the others together.
-- rows: counters; $starts: where the days begin, and where the last ends
WITH days AS (
    SELECT
        d.start,
        {site_number} AS number,
        min(site) AS site,
        sum(events) AS events,
        {is_ambiguous} AS is_ambiguous
    FROM {rows} c
    ASOF JOIN (SELECT unnest($starts::TIMESTAMP[]) AS start) d ON c.bucket >= d.start
    WHERE dimension = '{total}' AND visitors IS NULL AND NOT bot AND bucket < list_max($starts::TIMESTAMP[])
    GROUP BY ALL
),
largest AS (
    SELECT number
    FROM days
    WHERE site <> '{other}'
    GROUP BY number
    ORDER BY sum(events) DESC, min(site)
    LIMIT {most}
)
SELECT
    start,
    CASE WHEN l.number IS NOT NULL THEN min(site) END AS site,
    sum(events)::BIGINT AS events,
    bool_or(is_ambiguous) AS is_ambiguous
FROM days
LEFT JOIN largest l ON l.number = days.number
GROUP BY start, l.number
