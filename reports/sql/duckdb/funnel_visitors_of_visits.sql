-- One row for each visitor who reached the first step in a visit, with the milliseconds to
-- each other step, of the visit in which it was reached first.
-- moment: when, and what tells events of one time apart
visitors AS MATERIALIZED (
    SELECT
        owner AS visitor,
        list_extract(arg_min([value], moment) FILTER (reaches_1), 1) AS value,
        coalesce(bool_or(daily) FILTER (reaches_1), false) AS daily,
        {times_of_visits}
    FROM once_reached
    GROUP BY owner
    HAVING bool_or(reaches_1)
),
