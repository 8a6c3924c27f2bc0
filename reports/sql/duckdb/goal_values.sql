-- Sums of the values of each goal, exact, as in value_sums.sql: of each power of two the
-- whole multiples.
-- matched (bucket, goals, value, number, visitor): as in goals.sql
WITH
scaled AS (
    SELECT
        bucket, goals, value,
        CASE WHEN value = 0 THEN 0 ELSE floor(log2(abs(value)))::INTEGER - 60 END AS power
    FROM matched
    WHERE goals <> 0 AND isfinite(value)
),
multiples AS (
    SELECT
        bucket, goals, power,
        (value * pow(2.0, -(power // 2)) * pow(2.0, -(power - power // 2)))::BIGINT AS multiple
    FROM scaled
),
alike AS (
    SELECT bucket, goals, power, sum(multiple)::HUGEINT AS multiples
    FROM multiples
    GROUP BY bucket, goals, power
),
every AS (
    SELECT range AS goal, 1::UHUGEINT << range::UHUGEINT AS bit
    FROM range($goals)
)
SELECT bucket, goal, power, sum(multiples)::HUGEINT
FROM alike
JOIN every ON (goals & bit) <> 0
GROUP BY bucket, goal, power
