-- All hosts, in one statement, so that their rows are of one moment: what each has published,
-- and the days on which it hashed visitors without an id with another salt than the others.
-- the parameter: sha256 of snapshots that are known already, and not sent again
SELECT instance::text, host, timezone, generation, snapshot_sha256, retired_at IS NOT NULL,
       extract(epoch FROM now() - published_at)::float8,
       CASE WHEN snapshot_sha256 = ANY (%s) THEN NULL ELSE snapshot END,
       coalesce(days, '{}'), coalesce(begins, '{}'), coalesce(ends, '{}')
FROM analytics_folded
LEFT JOIN (
    SELECT instance, array_agg(day ORDER BY day) AS days, array_agg(begins_at ORDER BY day) AS begins,
           array_agg(ends_at ORDER BY day) AS ends
    FROM analytics_own_salts
    GROUP BY instance
) own USING (instance)
ORDER BY instance
