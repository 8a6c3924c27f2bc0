-- Hosts without a disk that lasts (FOLDLOG_DURABILITY=store): each commit of a worker is
-- a row as well, until the generation that has folded it is published.

-- Of the directory that continues the instance; null until one writes rows. Only a takeover
-- changes it, and only who names it adds a row.
ALTER TABLE analytics_folded ADD COLUMN tenure uuid;

-- The rows of a segment, in the order of `first_byte`, are its bytes.
CREATE TABLE analytics_log (
    instance uuid NOT NULL,
    writer text NOT NULL,
    sequence bigint NOT NULL,
    first_byte bigint NOT NULL,
    tenure uuid NOT NULL,
    lines bytea NOT NULL,
    PRIMARY KEY (instance, writer, sequence, first_byte)
);
