-- All hosts, in one statement, so that their rows are of one moment.
-- the parameter: sha256 of snapshots that are known already, and not sent again
SELECT instance::text, host, timezone, generation, snapshot_sha256, retired_at IS NOT NULL,
       extract(epoch FROM now() - published_at)::float8,
       CASE WHEN snapshot_sha256 = ANY (%s) THEN NULL ELSE snapshot END
FROM analytics_folded
ORDER BY instance
