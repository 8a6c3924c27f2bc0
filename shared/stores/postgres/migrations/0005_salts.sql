-- What makes a visitor without an id one visitor over all hosts. docs/privacy.md explains it.

-- The salt of a day of a time zone, until soon after its end. UNLOGGED: no replica, archived
-- log or base backup has it. A row that is lost in a crash is sent again by a host.
CREATE UNLOGGED TABLE analytics_salts (
    timezone text NOT NULL,
    day date NOT NULL,
    ends_at timestamptz NOT NULL,
    salt bytea NOT NULL,
    PRIMARY KEY (timezone, day)
) WITH (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0);

-- Days on which an instance hashed visitors with another salt than the others.
CREATE TABLE analytics_own_salts (
    instance uuid NOT NULL,
    day date NOT NULL,
    begins_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    PRIMARY KEY (instance, day)
);
