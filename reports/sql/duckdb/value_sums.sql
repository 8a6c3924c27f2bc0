-- Sums of values, exact: a value is a whole multiple of a power of two, and of each power
-- the multiples are summed as whole numbers. reports/measures/values.py adds these up.
-- Powers are taken in two halves: of the smallest values one alone would be infinite.
-- amounts (bucket, number, value, amount): the values of the events of the query
-- shown (number, value): the dimension's values that are asked for
WITH
scaled AS (
    SELECT
        bucket, number, value, amount,
        CASE WHEN amount = 0 THEN 0 ELSE floor(log2(abs(amount)))::INTEGER - 60 END AS power
    FROM amounts
    WHERE isfinite(amount)
),
multiples AS (
    SELECT
        bucket, number, value, power,
        (amount * pow(2.0, -(power // 2)) * pow(2.0, -(power - power // 2)))::BIGINT AS multiple
    FROM scaled
)
SELECT m.bucket, s.value, m.power, sum(m.multiple)::HUGEINT, count(*)
FROM multiples m
JOIN shown s ON m.number IS NOT DISTINCT FROM s.number AND m.value IS NOT DISTINCT FROM s.value
GROUP BY m.bucket, s.number, s.value, m.power
