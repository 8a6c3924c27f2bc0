-- What this host knows of the claims in the store. `cursor` has one row: the number and the
-- name of the last block, which store it is, the epochs of all instances, and which parts of
-- yielded events were compared with these claims since they were fetched from the first.
CREATE TABLE IF NOT EXISTS known.claims (
    day DATE,
    hash UUID,
    instance UUID,
    epoch_name UUID
);

CREATE TABLE IF NOT EXISTS known.cursor (
    seq BIGINT,
    name UUID,
    store VARCHAR,
    epochs VARCHAR,
    compared VARCHAR
);

INSERT INTO known.cursor
SELECT 0, '00000000-0000-0000-0000-000000000000', '', '', NULL
WHERE NOT EXISTS (FROM known.cursor);
