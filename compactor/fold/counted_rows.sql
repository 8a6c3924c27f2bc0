-- What is counted, as numbers: a row per new event, and one of weight -1 per event that
-- one of them replaces. A site that is not kept has no number.
-- cut: the beginning of the row of a day that the event is in;
-- numbers: those of the counted dimensions, by their names
SELECT
    time::DATE AS day,
    time_bucket(INTERVAL 15 minutes, time) AS quarter,
    {cut} AS cut,
    bot,
    {site} AS site,
    {numbers},
    weight
FROM {rows}
