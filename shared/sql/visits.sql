-- Events of one UTC day and the next, each with the visit that it is of, for visits that
-- begin on that day. docs/reports.md defines a visit.
--   visit: with `begun_at`, which visit; a number that stands for site, visitor and the rest
--   begun_at: time of its first event, which alone `begins`
--   place: order of the events of a number
-- events: of both days; key: the number, of a relation `e` of events; reached: (visit,
-- until), up to when events are of visits that begin earlier; columns: more of the events
WITH
numbered AS NOT MATERIALIZED (
    SELECT
        {key} AS visit,
        e.time,
        e.received,
        e.id,
        e.sender,
        e.session IS NOT NULL AS has_session
        {columns}
    FROM {events} e
    WHERE e.visitor IS NOT NULL
),
own AS NOT MATERIALIZED (
    SELECT n.*
    FROM numbered n
    LEFT JOIN {reached} r ON r.visit = n.visit
    WHERE r.until IS NULL OR n.time > r.until
),
-- Time decides, then which came first, then the texts that tell them apart.
placed AS NOT MATERIALIZED (
    SELECT
        * EXCLUDE (received, id, sender),
        row_number() OVER by_time AS place,
        lag(time) OVER by_time AS earlier
    FROM own
    WINDOW by_time AS (PARTITION BY visit ORDER BY time, received, id, sender)
),
marked AS NOT MATERIALIZED (
    SELECT
        * EXCLUDE (earlier, has_session),
        earlier IS NULL OR (NOT has_session AND time >= earlier + INTERVAL {gap_s} SECONDS) AS begins
    FROM placed
),
begun AS NOT MATERIALIZED (
    SELECT *, max(CASE WHEN begins THEN time END) OVER (PARTITION BY visit ORDER BY place) AS begun_at
    FROM marked
)
SELECT *
FROM begun
WHERE begun_at::DATE = {day} AND time < begun_at + INTERVAL {longest_s} SECONDS
