-- Visitors of a UTC day without an archive, by day and site: as they were kept with the
-- counters, and NULL for each day and site that has events.
-- counters: of the day; total: the dimension; site: its number; day: the calendar day of `bucket`
SELECT bucket, NULL AS day, replace(min(site), chr(0), '␀') AS site, max(visitors) AS visitors
FROM {counters}
WHERE dimension = '{total}' AND visitors IS NOT NULL AND site IS NOT NULL AND NOT bot
GROUP BY bucket, {site}
UNION ALL
SELECT NULL, {day} AS day, replace(min(site), chr(0), '␀'), NULL
FROM {counters}
WHERE dimension = '{total}' AND visitors IS NULL AND NOT bot
GROUP BY day, {site}
