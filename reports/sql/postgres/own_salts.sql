-- Days on which a host hashed visitors without an id with another salt than the others.
SELECT instance::text, day, begins_at, ends_at
FROM analytics_own_salts
ORDER BY instance, day
