-- What stands before and after the stays at a value, two steps each way.
-- visited (number, has_session, visitor, time, received, id, sender, value, is_at): events
-- with a value; number: of visitor, site and session, value: that of the text
-- named (value, text): the texts of numbers
WITH
wanted AS MATERIALIZED (
    SELECT DISTINCT number
    FROM visited
    WHERE is_at
),
ordered AS NOT MATERIALIZED (
    SELECT v.*
    FROM visited v
    SEMI JOIN wanted w ON v.number = w.number
    ORDER BY v.number, v.time, v.received, v.id, v.sender
),
-- Windows without an order take the rows as they come, and keep few of them.
compared AS NOT MATERIALIZED (
    SELECT
        number, visitor, time, value, is_at, has_session,
        lag(number) OVER () AS last_number,
        lag(time) OVER () AS last_time,
        lag(value) OVER () AS last_value
    FROM ordered
),
marked AS NOT MATERIALIZED (
    SELECT
        visitor, value, is_at,
        number IS DISTINCT FROM last_number OR (NOT has_session AND time >= last_time + INTERVAL 30 MINUTES) AS begins,
        begins OR value <> last_value AS is_stay,
        number < last_number OR (number = last_number AND time < last_time) AS is_disordered
    FROM compared
),
numbered AS NOT MATERIALIZED (
    SELECT
        *,
        sum(begins::INTEGER) OVER (ROWS UNBOUNDED PRECEDING) AS visit,
        sum(is_disordered::INTEGER) OVER (ROWS UNBOUNDED PRECEDING) AS disordered
    FROM marked
),
stays AS NOT MATERIALIZED (
    SELECT visitor, value, is_at, visit, disordered
    FROM numbered
    WHERE is_stay
),
around AS NOT MATERIALIZED (
    SELECT
        visitor, is_at, visit, disordered,
        lag(value, 1) OVER () AS value_before_1, lag(visit, 1) OVER () AS visit_before_1,
        lag(value, 2) OVER () AS value_before_2, lag(visit, 2) OVER () AS visit_before_2,
        lead(value, 1) OVER () AS value_after_1, lead(visit, 1) OVER () AS visit_after_1,
        lead(value, 2) OVER () AS value_after_2, lead(visit, 2) OVER () AS visit_after_2
    FROM stays
),
moves AS MATERIALIZED (
    SELECT
        visitor,
        disordered,
        CASE WHEN visit_before_1 = visit THEN value_before_1 END AS before_1,
        CASE WHEN visit_before_2 = visit THEN value_before_2 END AS before_2,
        CASE WHEN visit_after_1 = visit THEN value_after_1 END AS after_1,
        CASE WHEN visit_after_2 = visit THEN value_after_2 END AS after_2
    FROM around
    WHERE is_at
),
sides AS NOT MATERIALIZED (
    SELECT 0 AS position, NULL::UHUGEINT AS via, NULL::UHUGEINT AS value, visitor FROM moves
    UNION ALL
    SELECT -2, before_1, before_2, visitor FROM moves WHERE before_1 IS NOT NULL
    UNION ALL
    SELECT -1, NULL, before_1, visitor FROM moves
    UNION ALL
    SELECT 1, NULL, after_1, visitor FROM moves
    UNION ALL
    SELECT 2, after_1, after_2, visitor FROM moves WHERE after_1 IS NOT NULL
),
counted AS MATERIALIZED (
    SELECT position, via, value, count(*) AS moves
    FROM sides
    GROUP BY ALL
),
used AS MATERIALIZED (
    SELECT DISTINCT number
    FROM (SELECT via AS number FROM counted UNION ALL SELECT value FROM counted)
),
texts AS MATERIALIZED (
    SELECT n.value AS number, min(n.text) AS text
    FROM named n
    SEMI JOIN used u ON n.value = u.number
    GROUP BY n.value
),
ranked AS MATERIALIZED (
    SELECT
        c.position, c.via, c.value, c.moves, v.text AS via_text, t.text AS value_text,
        row_number() OVER (PARTITION BY c.position ORDER BY c.moves DESC, v.text NULLS LAST, t.text NULLS LAST) AS rank
    FROM counted c
    LEFT JOIN texts v ON c.via = v.number
    LEFT JOIN texts t ON c.value = t.number
),
people AS NOT MATERIALIZED (
    SELECT DISTINCT s.position, least(r.rank, $limit + 1) AS rank, s.visitor
    FROM sides s
    JOIN ranked r
        ON s.position = r.position AND s.via IS NOT DISTINCT FROM r.via AND s.value IS NOT DISTINCT FROM r.value
),
visitors AS NOT MATERIALIZED (
    SELECT position, rank, count(*) AS visitors
    FROM people
    GROUP BY ALL
),
shown AS NOT MATERIALIZED (
    SELECT position, rank, via_text, value_text, 0 AS others, moves
    FROM ranked
    WHERE rank <= $limit
    UNION ALL
    SELECT position, $limit + 1, NULL, NULL, count(*), sum(moves)::BIGINT
    FROM ranked
    WHERE rank > $limit
    GROUP BY position
)
SELECT
    s.position, s.via_text, s.value_text, s.others, s.moves, v.visitors,
    (SELECT coalesce(max(disordered), 0) > 0 FROM moves)
FROM shown s
JOIN visitors v ON s.position = v.position AND s.rank = v.rank
ORDER BY s.position, s.rank
