-- `again`: what this host yielded and is to count after all: the epoch of the claim has
-- ended, or the claim is gone though its day is not deleted, as after a restore of the store;
-- or this instance has claimed it since, in a new epoch.
CREATE OR REPLACE TEMP TABLE again AS
WITH epochs AS (SELECT unnest($instances::UUID[]) AS instance, unnest($names::UUID[]) AS name)
SELECT DISTINCT y.day, y.hash
FROM yielded y
LEFT JOIN epochs e ON e.instance = y.winner
LEFT JOIN known.claims c
    ON c.hash = y.hash
    AND c.instance = y.winner
    AND c.epoch_name = y.winner_epoch
    AND c.day = y.winner_day
WHERE
    NOT $is_compared
    AND (
        e.name IS DISTINCT FROM y.winner_epoch
        OR (y.winner_day >= $pruned AND c.hash IS NULL)
    )
UNION
SELECT w.day, w.hash
FROM won w
SEMI JOIN yielded y USING (day, hash)
