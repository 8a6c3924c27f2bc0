-- Rows that no window needs. Those that another host holds are left to it.
DELETE FROM analytics_rate WHERE client IN (
    SELECT client FROM analytics_rate WHERE until < now() LIMIT 10000 FOR UPDATE SKIP LOCKED
)
