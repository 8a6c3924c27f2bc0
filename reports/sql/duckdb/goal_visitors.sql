-- Visitors of each bucket: of all events (goal NULL) and of each goal.
-- matched (bucket, goals, value, number, visitor): events, with a bit for each of the
-- $goals goals that they match
WITH
people AS (
    SELECT bucket, bit_or(goals) AS goals
    FROM matched
    WHERE visitor IS NOT NULL
    GROUP BY bucket, number, visitor
),
alike AS MATERIALIZED (
    SELECT bucket, goals, count(*) AS visitors
    FROM people
    GROUP BY bucket, goals
),
every AS (
    SELECT range AS goal, 1::UHUGEINT << range::UHUGEINT AS bit
    FROM range($goals)
)
SELECT bucket, NULL AS goal, sum(visitors)::BIGINT
FROM alike
GROUP BY bucket
UNION ALL
SELECT bucket, goal, sum(visitors)::BIGINT
FROM alike
JOIN every ON (goals & bit) <> 0
GROUP BY bucket, goal
