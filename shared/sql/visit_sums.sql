-- Sums of visits by quarter of an hour, site and bot. Where these are more than rows_max, the sites with the most visits keep rows of their own.
-- visits: with VISIT_COLUMNS; site_number: stands for the site; bounced, duration_ms: of a visit
WITH
numbered AS NOT MATERIALIZED (
    SELECT *, time_bucket(INTERVAL {bucket_s} SECONDS, begun_at, TIMESTAMP '1970-01-01') AS bucket,
        {site_number} AS number
    FROM {visits}
),
summed AS MATERIALIZED (
    SELECT
        bucket,
        number,
        site,
        bot,
        count(*) AS visits,
        count(*) FILTER (WHERE {bounced}) AS bounces,
        sum(views)::BIGINT AS views,
        sum({duration_ms})::BIGINT AS duration_ms
    FROM numbered
    GROUP BY bucket, number, site, bot
),
sites AS NOT MATERIALIZED (
    SELECT number, site, count(*) AS rows, sum(visits) AS visits
    FROM summed
    GROUP BY number, site
),
kept AS NOT MATERIALIZED (
    SELECT number, site, sum(rows) OVER (ORDER BY visits DESC, site ROWS UNBOUNDED PRECEDING) <= {rows_max} AS is_kept
    FROM sites
),
named AS NOT MATERIALIZED (
    SELECT s.* EXCLUDE (site, number), CASE WHEN k.is_kept THEN s.number END AS number,
        CASE WHEN k.is_kept THEN s.site ELSE '{other}' END AS site
    FROM summed s
    JOIN kept k ON k.number = s.number AND k.site = s.site
)
SELECT
    bucket,
    site,
    bot,
    sum(visits)::BIGINT AS visits,
    sum(bounces)::BIGINT AS bounces,
    sum(views)::BIGINT AS views,
    sum(duration_ms)::BIGINT AS duration_ms
FROM named
GROUP BY bucket, number, site, bot
