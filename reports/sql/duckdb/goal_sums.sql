-- Events of each bucket, of all (goal NULL) and of each goal; and the sums of the values of
-- goals, exact, as in value_sums.sql: of each power of two the whole multiples.
-- matched (bucket, goals, value, number, visitor): as in goal_visitors.sql
WITH
scaled AS (
    SELECT
        bucket, goals, value,
        CASE WHEN value = 0 THEN 0 WHEN isfinite(value) THEN floor(log2(abs(value)))::INTEGER - 60 END AS power
    FROM matched
),
multiples AS (
    SELECT
        bucket, goals, power,
        CASE
            WHEN power IS NOT NULL
            THEN (value * pow(2.0, -(power // 2)) * pow(2.0, -(power - power // 2)))::BIGINT
        END AS multiple
    FROM scaled
),
alike AS MATERIALIZED (
    SELECT bucket, goals, power, count(*) AS events, sum(multiple)::HUGEINT AS multiples
    FROM multiples
    GROUP BY bucket, goals, power
),
every AS (
    SELECT range AS goal, 1::UHUGEINT << range::UHUGEINT AS bit
    FROM range($goals)
)
SELECT bucket, NULL AS goal, NULL AS power, sum(events)::BIGINT, NULL
FROM alike
GROUP BY bucket
UNION ALL
SELECT bucket, goal, power, sum(events)::BIGINT, sum(multiples)::HUGEINT
FROM alike
JOIN every ON (goals & bit) <> 0
GROUP BY bucket, goal, power
