-- Creates `rebuilt`: the events of one day as a rebuild counts them. Views:
--   log_events, log_events_nearby    the replayed log: the day; its dedupe window
--   part_events, part_events_nearby  the accepted parts: the day; its dedupe window
--   part_repeats                     the same window, or no rows if no event can be in
--                                    two parts
-- An id counts once, with the copy received first.
CREATE OR REPLACE TEMP TABLE rebuilt AS
SELECT * EXCLUDE (filename), false AS is_unreferenced
FROM log_events l
WHERE NOT EXISTS (
    FROM part_events_nearby p
    WHERE p.site = l.site AND p.id = l.id AND p.received < l.received
)
UNION ALL BY NAME
SELECT * EXCLUDE (filename)
FROM part_events p
WHERE NOT EXISTS (
    FROM log_events_nearby l
    WHERE l.site = p.site AND l.id = p.id AND l.received <= p.received
)
-- Of repeats the copy received first remains, from the newest part that has it.
AND NOT EXISTS (
    FROM part_repeats r
    WHERE r.site = p.site AND r.id = p.id
    AND (r.received, r.time, p.filename) < (p.received, p.time, r.filename)
)
