-- The least that hosts and readers of a PostgreSQL store need. Run it once after
-- `foldlog store migrate`, as the role that owns the tables and may create roles:
--
--   psql "$FOLDLOG_STORE" -f roles.sql
--
-- Then give each host a role of its own: CREATE ROLE web1 LOGIN PASSWORD '…' IN ROLE foldlog_publish;
-- and each person or dashboard: CREATE ROLE grafana LOGIN PASSWORD '…' IN ROLE foldlog_read;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'foldlog_publish') THEN
        CREATE ROLE foldlog_publish NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'foldlog_read') THEN
        CREATE ROLE foldlog_read NOLOGIN;
    END IF;
END
$$;

-- A host writes rows. It makes no table but months of counters, by a function that does nothing else.
GRANT SELECT ON analytics_schema TO foldlog_publish;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    analytics_folded, analytics_parts, analytics_counters, analytics_visitors, analytics_ids, analytics_log TO foldlog_publish;
GRANT SELECT, INSERT, UPDATE ON analytics_shared TO foldlog_publish;
GRANT SELECT, INSERT, DELETE ON analytics_salts TO foldlog_publish;
GRANT SELECT, INSERT, UPDATE ON analytics_tokens TO foldlog_publish;
GRANT SELECT, INSERT, UPDATE ON analytics_orders TO foldlog_publish;
GRANT SELECT, INSERT, UPDATE ON analytics_documents TO foldlog_publish;
GRANT SELECT, INSERT ON analytics_own_salts TO foldlog_publish;
GRANT SELECT, INSERT, UPDATE, DELETE ON analytics_rate TO foldlog_publish;
GRANT SELECT, INSERT, UPDATE ON analytics_rate_key TO foldlog_publish;
GRANT USAGE ON SEQUENCE analytics_ids_seq TO foldlog_publish;
GRANT SELECT ON analytics_summary, analytics_summary_by_instance TO foldlog_publish;
GRANT EXECUTE ON FUNCTION analytics_make_month(date), analytics_drop_empty_months() TO foldlog_publish;

-- Who asks sees numbers: neither events, which are in the parts, nor hashes of visitors, nor keys.
GRANT SELECT (instance, host, timezone, epoch, generation, as_of, published_at, retired_at) ON analytics_folded TO foldlog_read;
GRANT SELECT ON analytics_schema, analytics_counters, analytics_summary, analytics_summary_by_instance, analytics_own_salts TO foldlog_read;
