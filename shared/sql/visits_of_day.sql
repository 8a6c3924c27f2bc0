-- `visits_found`: the visits of a day, with the rows of their first event, of their first
-- page view and of their last. Texts would have to be sorted with the events.
-- events: of visits.sql, with event, row and has_path; is_view: whether one is a page view;
-- is_other: whether it is more than a view and how long that was seen
CREATE OR REPLACE TEMP TABLE visits_found AS
SELECT
    visit,
    begun_at,
    max(time) AS ended_at,
    count(*) AS events,
    count(*) FILTER (WHERE {is_view}) AS views,
    count(*) FILTER (WHERE {is_other}) AS others,
    any_value(row) FILTER (WHERE begins) AS first_row,
    arg_min(row, place) FILTER (WHERE {is_view} AND has_path) AS entry_row,
    arg_max(row, place) FILTER (WHERE {is_view} AND has_path) AS exit_row
FROM ({events}) e
GROUP BY visit, begun_at;

-- `visits_of_day`: the visits, with what is said of them.
-- events: of both days, with `row`; of_first_event: columns of `f`, the first event
CREATE OR REPLACE TEMP TABLE visits_of_day AS
SELECT v.begun_at, v.ended_at, v.events, v.views, v.others, n.path AS entry, x.path AS exit {of_first_event}
FROM visits_found v
JOIN {read_events} f ON f.row = v.first_row
LEFT JOIN {read_events} n ON n.row = v.entry_row
LEFT JOIN {read_events} x ON x.row = v.exit_row;

DROP TABLE visits_found
