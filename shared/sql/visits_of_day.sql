-- `visits_found`: what the events of a UTC day say of visits, a row each. docs/reports.md
-- defines a visit.
--   visit: a number that stands for site, visitor and the rest of what its events share
--   begun_at: time of its first event; on the day before, for a visit that goes on
--   is_tied: whether several of its events are of one instant
-- Texts are not sorted with the events; where they decide, `tied_rows` says so.
-- events: of the day, with `row`; key: the number, of a relation `e` of events;
-- carried: (visit, begun_at, ended_at), of visits that may go on from the day before;
-- among: which events are read; place: time and row as one number
CREATE OR REPLACE TEMP TABLE visits_found AS
WITH
numbered AS NOT MATERIALIZED (
    SELECT
        {key} AS visit,
        e.time,
        e.row,
        e.session IS NOT NULL AS has_session,
        {is_view} AS is_view,
        {is_other} AS is_other,
        {is_page} AS is_page
    FROM {events} e
    WHERE e.visitor IS NOT NULL
),
placed AS NOT MATERIALIZED (
    SELECT n.*, c.begun_at AS carried_at, c.ended_at AS carried_until, lag(n.time) OVER by_time AS earlier
    FROM (FROM numbered n {among}) n
    LEFT JOIN {carried} c ON c.visit = n.visit
    WINDOW by_time AS (PARTITION BY n.visit ORDER BY n.time)
),
marked AS NOT MATERIALIZED (
    SELECT
        * EXCLUDE (earlier, carried_until, has_session),
        time = earlier AS is_tied,
        coalesce(earlier, carried_until) IS NULL
        OR (NOT has_session AND time >= coalesce(earlier, carried_until) + INTERVAL {gap_s} SECONDS) AS begins
    FROM placed
),
begun AS NOT MATERIALIZED (
    SELECT *, coalesce(max(CASE WHEN begins THEN time END) OVER (PARTITION BY visit ORDER BY time), carried_at) AS since
    FROM marked
),
-- What is left of a chain after the longest time that a visit takes begins another.
found AS NOT MATERIALIZED (
    SELECT
        visit,
        since,
        time >= since + INTERVAL {longest_s} SECONDS AS is_over,
        min(time) AS first_at,
        max(time) AS ended_at,
        count(*) AS events,
        count(*) FILTER (WHERE is_view) AS views,
        count(*) FILTER (WHERE is_other) AS others,
        min(time) FILTER (WHERE is_page) AS entry_at,
        max(time) FILTER (WHERE is_page) AS exit_at,
        min({place}) AS first_place,
        min({place}) FILTER (WHERE is_page) AS entry_place,
        max({place}) FILTER (WHERE is_page) AS exit_place,
        coalesce(bool_or(is_tied), false) AS is_tied
    FROM begun
    GROUP BY visit, since, is_over
)
SELECT * EXCLUDE (since, is_over), CASE WHEN is_over THEN first_at ELSE since END AS begun_at
FROM found;

-- `tied_rows`: of instants with several events, which is first, and which page views are
-- first and last. Then which came first decides, then the texts that tell them apart.
CREATE OR REPLACE TEMP TABLE tied_rows AS
WITH
tied AS NOT MATERIALIZED (
    SELECT DISTINCT visit, unnest([first_at, entry_at, exit_at]) AS time
    FROM visits_found
    WHERE is_tied
),
placed AS NOT MATERIALIZED (
    SELECT
        n.visit,
        n.time,
        n.row,
        n.is_page,
        row_number() OVER (PARTITION BY n.visit, n.time ORDER BY n.received, n.id, n.sender) AS place
    FROM (
        SELECT {key} AS visit, e.time, e.row, {is_page} AS is_page, e.received, e.id, e.sender
        FROM {events} e
        WHERE e.visitor IS NOT NULL
    ) n
    SEMI JOIN tied t ON t.visit = n.visit AND t.time = n.time
)
SELECT
    visit,
    time,
    arg_min(row, place) AS first_row,
    arg_min(row, place) FILTER (WHERE is_page) AS entry_row,
    arg_max(row, place) FILTER (WHERE is_page) AS exit_row
FROM placed
GROUP BY visit, time;

-- `visits_placed`: the visits with their paths. Wide rows are joined last, and once.
CREATE OR REPLACE TEMP TABLE visits_placed AS
WITH
placed AS NOT MATERIALIZED (
    SELECT
        v.begun_at,
        v.ended_at,
        v.events,
        v.views,
        v.others,
        coalesce(f.first_row, (v.first_place % {rows})::BIGINT) AS first_row,
        coalesce(n.entry_row, (v.entry_place % {rows})::BIGINT) AS entry_row,
        coalesce(x.exit_row, (v.exit_place % {rows})::BIGINT) AS exit_row
    FROM visits_found v
    LEFT JOIN tied_rows f ON f.visit = v.visit AND f.time = v.first_at
    LEFT JOIN tied_rows n ON n.visit = v.visit AND n.time = v.entry_at
    LEFT JOIN tied_rows x ON x.visit = v.visit AND x.time = v.exit_at
)
SELECT p.* EXCLUDE (entry_row, exit_row), n.path AS entry, x.path AS exit
FROM placed p
LEFT JOIN (SELECT row, path FROM {events}) n ON n.row = p.entry_row
LEFT JOIN (SELECT row, path FROM {events}) x ON x.row = p.exit_row;

-- `visits_of_day`: with what is said of them by their first event, on that day.
-- of_first_event: columns of `f`, the first event
CREATE OR REPLACE TEMP TABLE visits_of_day AS
SELECT v.begun_at, v.ended_at, v.events, v.views, v.others, v.entry, v.exit {of_first_event}
FROM visits_placed v
JOIN {events} f ON f.row = v.first_row;

DROP TABLE visits_found;

DROP TABLE tied_rows;

DROP TABLE visits_placed
