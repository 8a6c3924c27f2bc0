-- Visitors of calendar days that stayed with the counters when the archive expired.
-- $counters: paths; $site NULL: all sites together; $bot NULL: bots and people together
SELECT bucket, value, visitors
FROM read_parquet($counters, hive_partitioning = false)
WHERE visitors IS NOT NULL
    AND dimension = $dimension
    AND site IS NOT DISTINCT FROM $site
    AND bot IS NOT DISTINCT FROM $bot
