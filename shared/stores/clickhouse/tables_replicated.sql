-- The tables of tables.sql on shards of several replicas, for ClickHouse 24.8 and later with Keeper. This file has not
-- been run for Foldlog: docs/scale-out.md says what else is not known of replicas. Run it on each replica, in the database of
-- FOLDLOG_STORE, before the first publish; the servers put their macros {shard} and {replica} in. Instead of `analytics` in
-- the last statement write the name of your cluster, as in `?cluster=`.

CREATE TABLE IF NOT EXISTS analytics_events (
    h UInt64 CODEC(NONE),
    g UInt64 CODEC(NONE),
    site LowCardinality(String),
    sender LowCardinality(String),
    id Nullable(String) CODEC(ZSTD(3)),
    precedence UInt64 CODEC(ZSTD(3)),
    instance UUID,
    day Date,
    generation UInt64,
    time_ms Int64 CODEC(ZSTD(3)),
    url_head LowCardinality(Nullable(String)),
    url_tail Nullable(String) CODEC(ZSTD(3)),
    referrer_head LowCardinality(Nullable(String)),
    referrer_tail Nullable(String) CODEC(ZSTD(3)),
    event LowCardinality(String),
    visitor Nullable(String) CODEC(ZSTD(3)),
    daily Nullable(UInt8),
    session Nullable(String) CODEC(ZSTD(3)),
    ua Nullable(String) CODEC(ZSTD(3)),
    language LowCardinality(Nullable(String)),
    country LowCardinality(Nullable(String)),
    consent LowCardinality(Nullable(String)),
    value Nullable(Float64),
    props Nullable(String) CODEC(ZSTD(3)),
    region LowCardinality(Nullable(String)),
    city LowCardinality(Nullable(String)),
    screen LowCardinality(Nullable(String)),
    path Nullable(String) CODEC(ZSTD(3)),
    referrer Nullable(String) CODEC(ZSTD(3)),
    utm_source LowCardinality(Nullable(String)),
    utm_medium LowCardinality(Nullable(String)),
    utm_campaign LowCardinality(Nullable(String)),
    browser LowCardinality(Nullable(String)),
    os LowCardinality(Nullable(String)),
    device LowCardinality(Nullable(String)),
    prop_keys Array(LowCardinality(String)),
    prop_values Array(String) CODEC(ZSTD(3)),
    bot UInt8,
    time DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(time_ms, 'UTC'),
    received DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(toInt64(4398046511104 - intDiv(precedence, 1024)), 'UTC'),
    url Nullable(String) ALIAS if(url_head IS NULL, url_tail, concat(url_head, path, url_tail)),
    referrer_url Nullable(String) ALIAS if(referrer_head IS NULL, referrer_tail, concat(referrer_head, referrer, referrer_tail)),
    source Nullable(String) ALIAS coalesce(utm_source, referrer)
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', precedence)
PARTITION BY toYYYYMM(day)
ORDER BY (h, g);

CREATE TABLE IF NOT EXISTS analytics_folded (
    instance UUID,
    version UInt64,
    host String,
    timezone String,
    generation UInt64,
    snapshot_sha256 String,
    as_of String,
    snapshot String CODEC(ZSTD(3)),
    published_at DateTime('UTC'),
    retired UInt8
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', version)
ORDER BY instance;

CREATE TABLE IF NOT EXISTS analytics_events_all AS analytics_events
ENGINE = Distributed(analytics, currentDatabase(), analytics_events, h);
