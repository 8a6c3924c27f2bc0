-- One row for each visitor who reached the first step, with the milliseconds to each
-- other step that the visitor reached.
reached AS NOT MATERIALIZED (
    SELECT r.*
    FROM once_reached r
    ANTI JOIN tied t ON r.visitor = t.visitor
    UNION ALL
    FROM again_reached
),
visitors AS MATERIALIZED (
    SELECT
        visitor,
        any_value(value) FILTER (reaches_1) AS value,
        coalesce(bool_or(daily) FILTER (reaches_1), false) AS daily,
        {times_of_visitor}
    FROM reached
    GROUP BY visitor
    HAVING bool_or(reaches_1)
),
