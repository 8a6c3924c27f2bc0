-- How long visitors had pages in sight: the milliseconds of each visitor are summed, then
-- visitors are counted, and the smallest sum is found that at least half of them do not
-- exceed.
-- stretches (bucket, number, value, visitor, ms): the `engaged` events of the query, with
-- numbers for visitors
-- shown (number, value): the dimension's values that are asked for
WITH
of_visitors AS (
    SELECT t.bucket, s.number, s.value, t.visitor, sum(t.ms) AS ms
    FROM stretches t
    JOIN shown s ON t.number IS NOT DISTINCT FROM s.number AND t.value IS NOT DISTINCT FROM s.value
    GROUP BY t.bucket, s.number, s.value, t.visitor
),
ranked AS (
    SELECT
        bucket, number, value, ms,
        row_number() OVER (PARTITION BY bucket, number, value ORDER BY ms) AS place,
        count(*) OVER (PARTITION BY bucket, number, value) AS visitors
    FROM of_visitors
)
SELECT bucket, value, sum(ms)::HUGEINT, count(*), min(ms) FILTER (place * 2 >= visitors)
FROM ranked
GROUP BY bucket, number, value
