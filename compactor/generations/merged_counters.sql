-- `merged_counters`: the sum of each key of a relation of counters. A key that adds up to
-- nothing has no row. Texts (site, event, value) are grouped beside their numbers.
-- rows: with the columns of counters; excluded: names of dimensions that are left out
CREATE OR REPLACE TEMP TABLE merged_counters AS
SELECT bucket, site, bot, event, dimension, value, sum(events)::BIGINT AS events, visitors
FROM (
    SELECT *, {site} AS site_number, {event} AS event_number, {value} AS value_number
    FROM {rows}
    WHERE NOT list_contains({excluded}::VARCHAR[], dimension)
)
GROUP BY bucket, bot, dimension, visitors, site_number, site, event_number, event, value_number, value
HAVING sum(events) <> 0 OR visitors IS NOT NULL
