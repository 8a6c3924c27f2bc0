-- Visitors of each place and step, and the medians of their times: of sorted times those
-- in the middle, for an aggregate would keep all of them in memory.
-- placed (place, daily, since_2, total_2, …); places (place, value); numbers: of values
-- counts, numbers_of_times, times: lists; runs: the events of `funnel_reached.sql`
WITH
counts AS MATERIALIZED (
    SELECT place, count(*) FILTER (daily) AS hashes, {counts} AS reached
    FROM placed
    GROUP BY place
),
times AS NOT MATERIALIZED (
    SELECT place, unnest({numbers_of_times}) AS number, unnest({times}) AS ms
    FROM placed
),
known AS NOT MATERIALIZED (
    FROM times
    WHERE ms IS NOT NULL
),
sorted AS NOT MATERIALIZED (
    SELECT *, row_number() OVER () AS position
    FROM (FROM known ORDER BY place, number, ms)
),
sizes AS MATERIALIZED (
    SELECT place, number, count(*) AS many
    FROM known
    GROUP BY ALL
),
starts AS NOT MATERIALIZED (
    SELECT *, sum(many) OVER (ORDER BY place, number) - many AS start
    FROM sizes
),
middles AS MATERIALIZED (
    SELECT place, number, unnest([start + (many + 1) // 2, start + many // 2 + 1])::BIGINT AS position
    FROM starts
),
medians AS MATERIALIZED (
    SELECT m.place, m.number, avg(s.ms) AS median_ms
    FROM middles m
    JOIN sorted s ON m.position = s.position
    GROUP BY ALL
),
lists AS NOT MATERIALIZED (
    SELECT place, list({'number': number, 'ms': median_ms}) AS medians
    FROM medians
    GROUP BY place
),
checks AS NOT MATERIALIZED (
    SELECT
        coalesce(bool_or(is_ambiguous), false) AS is_ambiguous,
        coalesce(bool_or(is_disordered), false) AS is_disordered
    FROM ({runs})
),
found AS NOT MATERIALIZED (
    SELECT c.place, p.value, c.hashes, c.reached, l.medians
    FROM counts c
    LEFT JOIN places p ON c.place = p.place
    LEFT JOIN lists l ON c.place = l.place
)
SELECT f.place, f.value, f.hashes, f.reached, f.medians, (SELECT count(*) FROM numbers), k.is_ambiguous, k.is_disordered
FROM checks k
LEFT JOIN found f ON true
ORDER BY f.place
