-- The tables of a SQLite store. docs/sql.md explains them.

-- The generation that the store holds: one row.
CREATE TABLE IF NOT EXISTS analytics_folded (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    schema INTEGER NOT NULL,
    instance TEXT NOT NULL,
    generation INTEGER NOT NULL,
    as_of TEXT NOT NULL,
    snapshot_sha256 TEXT NOT NULL,
    snapshot BLOB NOT NULL
) STRICT;

-- Events by day of the time zone, dimension and value. `dimension` is `total` (neither
-- event nor value), `event` (no value), or a dimension of reports.
CREATE TABLE IF NOT EXISTS analytics_counters (
    utc_day TEXT NOT NULL,
    key BLOB NOT NULL,
    day TEXT NOT NULL,
    dimension TEXT NOT NULL,
    site TEXT,
    event TEXT,
    value TEXT,
    bot INTEGER NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (utc_day, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS analytics_counters_by_day ON analytics_counters (dimension, day);

-- Visitors by day of the time zone and site, without bots. Null: unknown, since the
-- archive was deleted.
CREATE TABLE IF NOT EXISTS analytics_visitors (
    day TEXT NOT NULL,
    site TEXT NOT NULL,
    visitors INTEGER,
    PRIMARY KEY (day, site)
) STRICT, WITHOUT ROWID;

-- `visits` is null: they are not counted here.
CREATE VIEW IF NOT EXISTS analytics_summary AS
SELECT
    c.site, c.day, sum(c.events) AS events,
    CASE WHEN v.day IS NULL THEN 0 ELSE v.visitors END AS visitors,
    NULL AS visits
FROM analytics_counters c
LEFT JOIN analytics_visitors v ON v.day = c.day AND v.site = c.site
WHERE c.dimension = 'total' AND c.bot = 0
GROUP BY c.site, c.day;
