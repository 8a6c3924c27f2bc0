-- Visits that began on a day, with what they have on the following one.
-- begun: these visits as far as that day goes; pieces: what the following day has of
-- visits that began before; may_go_on: of `a`, whether a visit can have such a piece;
-- key, key_of_piece: the number of a visit `a` and of a piece `e`; rest: columns of `a`
SELECT
    a.begun_at,
    coalesce(e.ended_at, a.ended_at) AS ended_at,
    a.events + coalesce(e.events, 0) AS events,
    a.views + coalesce(e.views, 0) AS views,
    a.others + coalesce(e.others, 0) AS others,
    coalesce(a.entry, e.entry) AS entry,
    coalesce(e.exit, a.exit) AS exit
    {rest}
FROM (SELECT *, CASE WHEN {may_go_on} THEN {key} END AS visit FROM {begun} a) a
LEFT JOIN (SELECT *, {key_of_piece} AS visit FROM {pieces} e) e ON e.visit = a.visit AND e.begun_at = a.begun_at
