-- `changed_counters`: counters of a UTC day as a store has them: of each key that is asked for, the sum now.
-- Texts (site, event, value) are grouped beside their numbers, and hashed to one key by
-- SHA-256: a client could find two texts with one MD5.
-- rows: (bucket, site, bot, event, dimension, value, events, change); day: the calendar day
-- of `bucket`; dimension: what a row counts; excluded: names of dimensions that are left out; asked_for: which sums
CREATE OR REPLACE TEMP TABLE changed_counters AS
SELECT
    unhex(left(sha256(json_array(day::VARCHAR, dimension, site, event, value, bot)::VARCHAR), 32)) AS key,
    day, dimension,
    -- No database takes a zero byte in a text. The key tells the texts apart.
    replace(site, chr(0), '␀') AS site, replace(event, chr(0), '␀') AS event, replace(value, chr(0), '␀') AS value,
    bot, events
FROM (
    SELECT day, dimension, site, event, value, bot, sum(events)::BIGINT AS events
    FROM (
        SELECT
            {day} AS day, {dimension} AS dimension,
            site, event, value, bot, events, change,
            {site} AS site_number, {event} AS event_number, {value} AS value_number
        FROM {rows}
        WHERE NOT list_contains({excluded}::VARCHAR[], dimension)
    )
    GROUP BY day, dimension, bot, site_number, site, event_number, event, value_number, value
    HAVING {asked_for}
)
