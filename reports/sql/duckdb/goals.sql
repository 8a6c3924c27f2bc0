-- Events and visitors of each bucket: of all events (goal NULL) and of each goal.
-- matched (bucket, goals, value, number, visitor): events, with a bit for each of the
-- $goals goals that they match
WITH
alike AS MATERIALIZED (
    SELECT bucket, goals, number, visitor, count(*) AS events
    FROM matched
    GROUP BY bucket, goals, number, visitor
),
people AS (
    SELECT bucket, bit_or(goals) AS goals
    FROM alike
    WHERE visitor IS NOT NULL
    GROUP BY bucket, number, visitor
),
counted AS MATERIALIZED (
    SELECT bucket, goals, sum(events)::BIGINT AS events, 0 AS visitors
    FROM alike
    GROUP BY bucket, goals
    UNION ALL
    SELECT bucket, goals, 0, count(*)
    FROM people
    GROUP BY bucket, goals
),
every AS (
    SELECT range AS goal, 1::UHUGEINT << range::UHUGEINT AS bit
    FROM range($goals)
)
SELECT bucket, NULL AS goal, sum(events)::BIGINT, sum(visitors)::BIGINT
FROM counted
GROUP BY bucket
UNION ALL
SELECT bucket, goal, sum(events)::BIGINT, sum(visitors)::BIGINT
FROM counted
JOIN every ON (goals & bit) <> 0
GROUP BY bucket, goal
