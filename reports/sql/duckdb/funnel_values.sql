-- The $limit values with the most visitors at the first step, by places from 1 on, the
-- others behind them; and all visitors once more, at place 0.
-- texts (number, value): of the events of the first step
numbers AS MATERIALIZED (
    SELECT value AS number, count(*) AS people
    FROM visitors
    GROUP BY value
),
named AS NOT MATERIALIZED (
    SELECT n.number, n.people, t.value
    FROM numbers n
    LEFT JOIN (SELECT number, min(value) AS value FROM texts GROUP BY number) t
        ON n.number = t.number
),
places AS MATERIALIZED (
    SELECT number, value, row_number() OVER (ORDER BY people DESC, value NULLS LAST)::INTEGER AS place
    FROM named
    ORDER BY place
    LIMIT $limit
),
placed AS MATERIALIZED (
    SELECT coalesce(p.place, $limit + 1) AS place, v.* EXCLUDE (visitor, value)
    FROM visitors v
    LEFT JOIN places p ON v.value IS NOT DISTINCT FROM p.number
    UNION ALL
    SELECT 0 AS place, v.* EXCLUDE (visitor, value)
    FROM visitors v
),
