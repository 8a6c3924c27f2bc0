-- What events of a day have in common whose visit may go on on the following day.
--   is_sure: it began on the day, whatever was before
-- events: of the day; key: the number, of a relation `e` of events; among: which are
-- read; earlier, day: the day and the following one
SELECT
    visit,
    NOT has_session AND min(time) >= {earlier}::TIMESTAMP + INTERVAL {gap_s} SECONDS AS is_sure
FROM (
    FROM (
        SELECT {key} AS visit, e.time, e.session IS NOT NULL AS has_session
        FROM {events} e
        WHERE e.visitor IS NOT NULL
    ) n
    {among}
)
GROUP BY visit, has_session
HAVING has_session OR max(time) > {day} - INTERVAL {gap_s} SECONDS
