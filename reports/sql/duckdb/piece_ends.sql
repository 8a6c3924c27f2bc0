-- The last place (time, site, id) of each piece of about $piece_bytes bytes, in order.
-- events: of the export; bytes: what one takes in memory
WITH
sized AS (
    SELECT time, site, id, {bytes} AS bytes
    FROM {events}
),
placed AS (
    SELECT time, site, id, sum(bytes) OVER (ORDER BY time, site, id) // $piece_bytes AS piece
    FROM sized
)
SELECT last.time, last.site, last.id
FROM (
    SELECT piece, max({'time': time, 'site': site, 'id': id}) AS last
    FROM placed
    GROUP BY piece
)
ORDER BY last.time, last.site, last.id
