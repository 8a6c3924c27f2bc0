-- (start, site, events): the events of each day, of the largest sites and, without a name,
-- of the others together.
-- rows: counters; $starts: where the days begin, and where the last ends
WITH
numbered AS (
    SELECT bucket, site, {site_number} AS number, events
    FROM {rows}
    WHERE dimension = '{total}' AND visitors IS NULL AND NOT bot AND bucket < list_max($starts::TIMESTAMP[])
),
days AS (
    SELECT d.start, number, site, sum(events) AS events
    FROM numbered n
    ASOF JOIN (SELECT unnest($starts::TIMESTAMP[]) AS start) d ON n.bucket >= d.start
    GROUP BY d.start, number, site
),
largest AS (
    SELECT number, site
    FROM days
    WHERE site <> '{other}'
    GROUP BY number, site
    ORDER BY sum(events) DESC, site
    LIMIT {most}
)
SELECT start, l.site, sum(events)::BIGINT AS events
FROM days
LEFT JOIN largest l ON l.number = days.number AND l.site = days.site
GROUP BY start, l.number, l.site
