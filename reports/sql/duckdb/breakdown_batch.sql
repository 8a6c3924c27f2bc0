-- Events by several dimensions in one reading: as breakdown_events.sql for each of them.
-- counted (place, number, value, events): `place` says of which dimension the value is
WITH
ranked AS (
    SELECT
        place,
        value,
        events,
        row_number() OVER (PARTITION BY place ORDER BY events DESC, value) AS position,
        sum(events) OVER (PARTITION BY place) AS events_of_all
    FROM counted
)
SELECT place, value, events, events_of_all::BIGINT
FROM ranked
WHERE position <= list_extract($limits::BIGINT[], place)
ORDER BY place, position
