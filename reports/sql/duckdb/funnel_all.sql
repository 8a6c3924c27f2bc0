-- Without values: all visitors at place 0.
numbers AS NOT MATERIALIZED (
    SELECT NULL::UHUGEINT AS number
    LIMIT 0
),
places AS NOT MATERIALIZED (
    SELECT NULL::VARCHAR AS value, 0 AS place
),
placed AS MATERIALIZED (
    SELECT 0 AS place, * EXCLUDE (visitor, value)
    FROM visitors
),
