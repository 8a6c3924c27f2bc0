-- `merged_counters`: the sum of each key of a relation of counters. A key that adds up to
-- nothing has no row. Numbers stand for the texts (site, event, value).
-- rows: with the columns of counters; excluded: names of dimensions that are left out
CREATE OR REPLACE TEMP TABLE merged_counters AS
SELECT
    bucket,
    min(site) AS site,
    bot,
    min(event) AS event,
    dimension,
    min(value) AS value,
    sum(events)::BIGINT AS events,
    visitors,
    {is_ambiguous} AS is_ambiguous
FROM {rows}
WHERE NOT list_contains({excluded}::VARCHAR[], dimension)
GROUP BY bucket, bot, dimension, visitors, {site}, {event}, {value}
HAVING sum(events) <> 0 OR visitors IS NOT NULL
