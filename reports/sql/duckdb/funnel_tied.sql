-- Visitors with events of one time: which of these came first takes longer to find out. Of
-- such times alone the texts are read that tell it; few row groups have one.
-- events (visitor, other, time, steps, daily, value); events_in_full: with received, id,
-- sender, site
tied_moments AS MATERIALIZED (
    SELECT DISTINCT visitor, epoch_ms($begin_ms + since_start) AS time
    FROM once_reached
    WHERE is_tied
),
tied AS MATERIALIZED (
    SELECT DISTINCT visitor
    FROM tied_moments
),
events_of_tied AS NOT MATERIALIZED (
    SELECT e.*, NULL::TIMESTAMP AS received, NULL::VARCHAR AS id, NULL::VARCHAR AS sender, NULL::VARCHAR AS site
    FROM events e
    SEMI JOIN tied t
        ON e.visitor = t.visitor
    ANTI JOIN tied_moments m
        ON e.visitor = m.visitor AND e.time = m.time
    UNION ALL
    SELECT f.*
    FROM events_in_full f
    SEMI JOIN tied_moments m
        ON f.time = m.time AND f.visitor = m.visitor
),
