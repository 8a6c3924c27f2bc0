-- What this host knows of the claims in the store. `seq` is the number of the block.
-- `cursor` has one row: the number and the name of the last block, which store it is, the
-- epochs of all instances, which parts of yielded events were compared with these claims since
-- they were fetched from the first, and before which day they are deleted.
CREATE TABLE IF NOT EXISTS known.claims (
    seq BIGINT,
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
    compared VARCHAR,
    pruned DATE
);

INSERT INTO known.cursor
SELECT 0, '00000000-0000-0000-0000-000000000000', '', '', NULL, NULL
WHERE NOT EXISTS (FROM known.cursor);

-- What this instance had claimed when the claims were last fetched from the first: a store
-- that was restored may have lost claims of ids that are in no archive any more.
CREATE TABLE IF NOT EXISTS known.before (
    day DATE,
    hash UUID
)
