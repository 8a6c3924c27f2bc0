-- The same tables for a server that is older than 24.8, with types that ClickHouse 18 knows. Reports do not ask such a
-- server.

CREATE TABLE IF NOT EXISTS analytics_events (
    h UInt64,
    g UInt64,
    site String,
    sender String,
    id Nullable(String),
    precedence UInt64,
    instance UUID,
    day Date,
    generation UInt64,
    time_ms Int64,
    url_head Nullable(String),
    url_tail Nullable(String),
    referrer_head Nullable(String),
    referrer_tail Nullable(String),
    event String,
    visitor Nullable(String),
    daily Nullable(UInt8),
    session Nullable(String),
    ua Nullable(String),
    language Nullable(String),
    country Nullable(String),
    consent Nullable(String),
    value Nullable(Float64),
    props Nullable(String),
    region Nullable(String),
    city Nullable(String),
    screen Nullable(String),
    path Nullable(String),
    referrer Nullable(String),
    utm_source Nullable(String),
    utm_medium Nullable(String),
    utm_campaign Nullable(String),
    browser Nullable(String),
    os Nullable(String),
    device Nullable(String),
    prop_keys Array(String),
    prop_values Array(String),
    bot UInt8
)
ENGINE = {engine}(precedence)
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
    snapshot String,
    published_at DateTime,
    retired UInt8
)
ENGINE = {engine}(version)
ORDER BY instance
