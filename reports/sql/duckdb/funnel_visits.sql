-- The events of a funnel within visits: `visitor` is a visit, `owner` the visitor. An event
-- is of the last visit that began before it. One that none did began on a day before: only
-- one visit of a visitor and site goes on from there.
-- events_in_full (key, owner, time, received, id, sender, site, steps, value, daily); begun
-- (key, begun_at): visits; key: what their events have in common; visit: the number of one
events_of_visits AS NOT MATERIALIZED (
    SELECT
        {visit} AS visitor,
        NULL::UBIGINT AS other,
        e.owner,
        concat_ws(chr(31), printf('%020d', epoch_ms(e.received)), e.id, e.sender, e.site) AS tie,
        e.* EXCLUDE (key, owner)
    FROM events_in_full e
    ASOF LEFT JOIN begun b
        ON e.key = b.key AND e.time >= b.begun_at
),
