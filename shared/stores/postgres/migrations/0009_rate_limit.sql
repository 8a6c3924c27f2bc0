-- What several hosts count together (FOLDLOG_RATE_STORE=postgres). The rate store makes these
-- tables by itself in a database that is no store, so they may be there.

-- A row a client. Unlogged: a crash of the server forgets it, and no copy of
-- the log of PostgreSQL has it.
CREATE UNLOGGED TABLE IF NOT EXISTS analytics_rate (
    client bytea PRIMARY KEY,  -- a keyed hash
    number bigint NOT NULL,    -- of the window that `used` counts in
    previous bigint NOT NULL,  -- in the window before
    used bigint NOT NULL,
    until timestamptz NOT NULL -- two windows after the last hit: nothing needs it any more
) WITH (fillfactor = 50);

-- The key of those hashes: one row, another key every day.
CREATE UNLOGGED TABLE IF NOT EXISTS analytics_rate_key (
    slot smallint PRIMARY KEY CHECK (slot = 1),
    key bytea NOT NULL,
    until timestamptz NOT NULL
);
