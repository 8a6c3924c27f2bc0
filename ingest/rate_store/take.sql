-- A hit: count all of its charges, or none if one is over its limit. `previous` counts for the share of it that the sliding
-- window still overlaps. The clock is the server's, so that the hosts agree on the window.
WITH moment AS (
    SELECT floor(extract(epoch FROM now()) * 1000)::bigint AS ms
), sent AS (
    SELECT client, place, most, amount, ms / %(window_ms)s AS number, %(window_ms)s - ms %% %(window_ms)s AS left_ms
    FROM moment, unnest(%(clients)s::bytea[], %(limits)s::bigint[], %(amounts)s::bigint[])
        WITH ORDINALITY AS charge (client, most, amount, place)
), counted AS (
    SELECT sent.*,
        CASE held.number WHEN sent.number THEN held.previous WHEN sent.number - 1 THEN held.used ELSE 0 END AS previous,
        CASE held.number WHEN sent.number THEN held.used ELSE 0 END AS used
    FROM sent LEFT JOIN analytics_rate AS held USING (client)
), taken AS (
    INSERT INTO analytics_rate AS held (client, number, previous, used, until)
    SELECT client, number, previous, amount, now() + make_interval(secs => 2 * %(window_ms)s / 1000.0)
    FROM counted
    WHERE (SELECT bool_and(previous * left_ms / %(window_ms)s + used + amount <= most) FROM counted)
    ORDER BY client  -- so that no two hosts wait for each other
    ON CONFLICT (client) DO UPDATE SET
        number = excluded.number,
        previous = CASE held.number
            WHEN excluded.number THEN held.previous WHEN excluded.number - 1 THEN held.used ELSE 0 END,
        used = CASE held.number WHEN excluded.number THEN held.used ELSE 0 END + excluded.used,
        until = excluded.until
    -- Once more on the locked row, which another host may have changed meanwhile.
    WHERE (
        SELECT CASE held.number
                WHEN sent.number THEN held.previous * left_ms / %(window_ms)s + held.used
                WHEN sent.number - 1 THEN held.used * left_ms / %(window_ms)s
                ELSE 0 END + amount <= most
        FROM sent WHERE sent.client = held.client
    )
    RETURNING client
)
SELECT previous, used, left_ms, client IN (SELECT client FROM taken) AS is_taken FROM counted ORDER BY place
