-- The table day_counters with the rarest values of one dimension counted under `(other)`.
-- column: where the values of the dimension stand; rows: the rows by which they are
-- ranked; scope: the rows that change; $max_values: how many stay
SELECT bucket, site, bot, event, dimension, value, sum(events)::BIGINT AS events, visitors
FROM (
    SELECT * REPLACE (
        CASE
            WHEN {column} IS NOT NULL AND visitors IS NULL AND {scope} AND {column} NOT IN (
                SELECT {column}
                FROM day_counters
                WHERE {rows} AND {column} IS NOT NULL AND visitors IS NULL
                GROUP BY ALL
                ORDER BY sum(events) DESC, {column}
                LIMIT $max_values
            )
            THEN '{other}'
            ELSE {column}
        END AS {column}
    )
    FROM day_counters
)
GROUP BY ALL
