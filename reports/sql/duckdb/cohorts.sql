-- Visitors by the period of their first event and by each later period in which they were
-- there; in the period of the first, all of them.
-- came (period, number, visitor, is_entry, is_return): events of visitors with an id; the
-- period is -1 before the first of $periods
WITH
visitors AS (
    SELECT
        min(period) FILTER (WHERE is_entry) AS first,
        bit_or(CASE WHEN is_return THEN 1::UHUGEINT << greatest(period, 0)::UHUGEINT ELSE 0::UHUGEINT END) AS periods
    FROM came
    GROUP BY number, visitor
),
alike AS (
    SELECT first, periods, count(*) AS visitors
    FROM visitors
    WHERE first >= 0
    GROUP BY first, periods
),
every AS (
    SELECT range AS period, 1::UHUGEINT << range::UHUGEINT AS bit
    FROM range($periods)
)
SELECT first, first AS period, sum(visitors)::BIGINT
FROM alike
GROUP BY first
UNION ALL
SELECT first, period, sum(visitors)::BIGINT
FROM alike
JOIN every ON period > first AND (periods & bit) <> 0
GROUP BY first, period
