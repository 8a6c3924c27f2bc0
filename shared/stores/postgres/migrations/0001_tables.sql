-- The tables of a PostgreSQL store. docs/sql.md explains them.
-- Each host writes rows of its own instance only, so no two hosts wait for each other,
-- except for the lock of claims.

-- The ledger: where each instance is. A publish is compare-and-set on its row.
CREATE TABLE analytics_folded (
    instance uuid PRIMARY KEY,
    host text NOT NULL,
    timezone text NOT NULL,
    -- `epoch_name` is the first block of claims of the epoch, `claims` the last one.
    epoch integer NOT NULL,
    epoch_name uuid NOT NULL,
    claims uuid NOT NULL,
    -- The published generation: 0 and nulls while there is none.
    generation bigint NOT NULL DEFAULT 0,
    snapshot_sha256 text,
    as_of timestamptz,
    snapshot bytea,
    published_at timestamptz,
    -- The oldest day of which this instance may still claim an id; null: unknown.
    horizon date,
    retired_at timestamptz
);

-- The Parquet files of the published generation of each instance.
CREATE TABLE analytics_parts (
    instance uuid NOT NULL,
    kind text NOT NULL,
    day date NOT NULL,
    generation bigint NOT NULL,
    version smallint NOT NULL,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (instance, kind, day, generation)
);
-- Parquet is compressed already.
ALTER TABLE analytics_parts ALTER COLUMN body SET STORAGE EXTERNAL;

-- Events by day of the time zone, dimension and value, per instance. `dimension` is
-- `total` (neither event nor value), `event` (no value), or a dimension of reports.
-- `key` is a hash of the texts, which may be longer than an index can hold.
CREATE TABLE analytics_counters (
    instance uuid NOT NULL,
    utc_day date NOT NULL,
    key bytea NOT NULL,
    day date NOT NULL,
    dimension text NOT NULL,
    site text,
    event text,
    value text,
    bot boolean NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (instance, utc_day, key)
) PARTITION BY RANGE (utc_day);

-- Visitors by day of the time zone and site, as keyed hashes, each at most once in the rows
-- of one instance, UTC day, day and site. `expired` is their number where the archive of the
-- day, and the hashes with it, is deleted.
CREATE TABLE analytics_visitors (
    instance uuid NOT NULL,
    utc_day date NOT NULL,
    day date NOT NULL,
    site text NOT NULL,
    generation bigint NOT NULL,
    visitors uuid[] NOT NULL,
    expired bigint
);
CREATE INDEX analytics_visitors_of_instance ON analytics_visitors (instance, utc_day);
CREATE INDEX analytics_visitors_by_day ON analytics_visitors (day, site);

-- Claims: blocks of sorted 16-byte keyed hashes of ids, all of one UTC day.
CREATE TABLE analytics_ids (
    seq bigint NOT NULL,
    day date NOT NULL,
    name uuid NOT NULL,
    instance uuid NOT NULL,
    epoch integer NOT NULL,
    epoch_name uuid NOT NULL,
    ids bytea NOT NULL,
    PRIMARY KEY (seq, day)
);
ALTER TABLE analytics_ids ALTER COLUMN ids SET STORAGE EXTERNAL;
CREATE INDEX analytics_ids_of_instance ON analytics_ids (instance);
CREATE SEQUENCE analytics_ids_seq;

-- What the hosts share, by name: keys of hashes, and how far claims are pruned.
CREATE TABLE analytics_shared (
    name text PRIMARY KEY,
    value bytea NOT NULL
);
