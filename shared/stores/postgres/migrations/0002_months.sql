-- Partitions of analytics_counters, one a month. Both functions run as the role that has
-- migrated, so that a role that publishes can make no other table, and drop none.

-- Two transactions do not make one month together, and readers do not wait: a table of its
-- own is attached.
CREATE FUNCTION analytics_make_month(of_day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    first date := date_trunc('month', of_day)::date;
    month text := to_char(first, '"analytics_counters_"YYYY_MM');
    is_there CONSTANT text := 'SELECT EXISTS (SELECT FROM pg_tables WHERE tablename = $1 AND schemaname = current_schema())';
    found boolean;
BEGIN
    EXECUTE is_there INTO found USING month;
    IF found THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(x'666F6C646C6F6702'::bigint);
    EXECUTE is_there INTO found USING month;
    IF found THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE analytics_counters INCLUDING ALL) WITH (fillfactor = 70)', month);
    EXECUTE format(
        'ALTER TABLE analytics_counters ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        month, first, (first + interval '1 month')::date
    );
END
$$;

-- A month of which all instances have deleted their rows is dropped, unless a reader or a
-- publish is at work: then a later call does it.
CREATE FUNCTION analytics_drop_empty_months() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '200ms' AS $$
DECLARE
    month regclass;
    is_empty boolean;
BEGIN
    FOR month IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'analytics_counters'::regclass LOOP
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', month) INTO is_empty;
        IF is_empty THEN
            LOCK TABLE analytics_counters IN ACCESS EXCLUSIVE MODE;
            EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', month) INTO is_empty;
            IF is_empty THEN
                EXECUTE format('DROP TABLE %s', month);
            END IF;
        END IF;
    END LOOP;
EXCEPTION WHEN lock_not_available THEN
    NULL;
END
$$;

REVOKE ALL ON FUNCTION analytics_make_month(date), analytics_drop_empty_months() FROM PUBLIC;

-- The role that calls them cannot put tables of its own in front of these.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION analytics_make_month(date) SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION analytics_drop_empty_months() SET search_path = %I, pg_temp', current_schema());
END
$$;
