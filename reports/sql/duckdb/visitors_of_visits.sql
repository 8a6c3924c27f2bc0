-- Distinct visitors of visits by bucket and value; last, of all.
-- matching_visits (bucket, value, visitor); number, visitor: stand for a value, a visitor
WITH
pairs AS MATERIALIZED (
    SELECT bucket, number, value, who
    FROM (SELECT bucket, value, {number} AS number, {visitor} AS who FROM matching_visits)
    GROUP BY bucket, number, value, who
)
SELECT false AS is_total, bucket, value, count(*) AS visitors
FROM pairs
GROUP BY bucket, number, value
UNION ALL
SELECT true, NULL, NULL, count(DISTINCT who)
FROM pairs
