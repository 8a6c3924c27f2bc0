-- The smallest value that at least so many of a hundred values do not exceed. Different
-- values are counted first, which can be spilled; a list for each group cannot.
-- amounts (bucket, number, value, amount, amount_number): the values of the events of the
-- query; a client cannot choose amounts whose numbers share a place of a hash table
-- shown (number, value): the dimension's values that are asked for
WITH
counted AS (
    SELECT a.bucket, s.number, s.value, a.amount_number, a.amount, count(*) AS events
    FROM amounts a
    JOIN shown s ON a.number IS NOT DISTINCT FROM s.number AND a.value IS NOT DISTINCT FROM s.value
    WHERE isfinite(a.amount)
    GROUP BY a.bucket, s.number, s.value, a.amount_number, a.amount
),
ranked AS (
    SELECT
        bucket, number, value, amount,
        sum(events) OVER (PARTITION BY bucket, number, value ORDER BY amount) AS up_to,
        sum(events) OVER (PARTITION BY bucket, number, value) AS of_all
    FROM counted
)
SELECT
    bucket, value,
    min(amount) FILTER (up_to * 100 >= of_all * 50),
    min(amount) FILTER (up_to * 100 >= of_all * 95)
FROM ranked
GROUP BY bucket, number, value
