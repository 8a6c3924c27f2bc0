-- Creates `kept_rows`: where the events of one day are that a rebuild counts. Views:
--   log_events, log_events_nearby    the replayed log: the day; its dedupe window
--   part_events, part_events_nearby  the accepted parts: the day; its dedupe window
--   part_repeats                     the same window, or no rows if no event can be in
--                                    two parts
--   yielded_events                   the same window: events that another host of the
--                                    store counts
-- An id counts once for each sender, with the copy received first; that of version 1 may be
-- of any (sender NULL). id_number separates ids that share a hash.
CREATE OR REPLACE TEMP TABLE kept_rows AS
SELECT filename, file_row, id_number, site, id, false AS is_unreferenced
FROM log_events l
WHERE NOT EXISTS (
    FROM part_events_nearby p
    WHERE p.id_number = l.id_number AND p.site = l.site AND p.id = l.id
    AND (p.sender = l.sender OR p.sender IS NULL OR l.sender IS NULL)
    AND p.received < l.received
)
AND NOT EXISTS (
    FROM yielded_events y
    WHERE y.id_number = l.id_number AND y.site = l.site AND y.id = l.id
    AND (y.sender = l.sender OR y.sender IS NULL OR l.sender IS NULL)
)
UNION ALL
SELECT filename, file_row, id_number, site, id, is_unreferenced
FROM part_events p
WHERE NOT EXISTS (
    FROM log_events_nearby l
    WHERE l.id_number = p.id_number AND l.site = p.site AND l.id = p.id
    AND (p.sender = l.sender OR p.sender IS NULL OR l.sender IS NULL)
    AND l.received <= p.received
)
-- Of repeats the copy received first remains, from the newest part that has it.
AND NOT EXISTS (
    FROM part_repeats r
    WHERE r.id_number = p.id_number AND r.site = p.site AND r.id = p.id
    AND (p.sender = r.sender OR p.sender IS NULL OR r.sender IS NULL)
    AND (r.received, r.time, p.filename) < (p.received, p.time, r.filename)
)
