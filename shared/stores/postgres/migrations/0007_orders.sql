-- Erasures that every instance has to carry out. The visitor is there until the last one
-- has; the rest of the row stays, so that an order that has ended is known.
CREATE TABLE analytics_orders (
    -- A name of files on each host.
    request text PRIMARY KEY CHECK (request ~ '^[0-9a-f]{16}$'),
    asked_at text NOT NULL,
    visitor text,
    site text,
    confirmed uuid[] NOT NULL DEFAULT '{}',
    ended_at timestamptz
);
