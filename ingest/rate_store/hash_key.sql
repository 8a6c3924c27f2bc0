-- The key of the hashes, a new one where there is none or its day is over, and for how many seconds it lasts.
INSERT INTO analytics_rate_key AS held (slot, key, until)
VALUES (1, %(key)s, now() + make_interval(secs => %(lasts_s)s))
ON CONFLICT (slot) DO UPDATE SET
    key = CASE WHEN held.until <= now() THEN excluded.key ELSE held.key END,
    until = CASE WHEN held.until <= now() THEN excluded.until ELSE held.until END
RETURNING key, extract(epoch FROM until - now())::float8
