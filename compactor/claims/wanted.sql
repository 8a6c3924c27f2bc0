-- wanted: ids to be claimed, as hashes, with the UTC day of the event that counts. An event
-- with several hashes, any of which another host may have claimed, has the first of them as
-- `head`. `is_kept`: this instance had claimed it before, and has no event of it any more.
-- yielded: ids of this host that another instance counts, and by which claim.
-- lost: the wanted ids that another instance has claimed. won: those that none has, nor a
-- hash of the same event.
CREATE OR REPLACE TEMP TABLE wanted (day DATE, hash UUID, head UUID, is_kept BOOLEAN);

CREATE OR REPLACE TEMP TABLE yielded (day DATE, hash UUID, winner UUID, winner_epoch UUID, winner_day DATE);

CREATE OR REPLACE TEMP TABLE lost (
    day DATE,
    hash UUID,
    head UUID,
    winner UUID,
    winner_epoch UUID,
    winner_day DATE
);

CREATE OR REPLACE TEMP VIEW won AS
SELECT DISTINCT w.day, w.hash, w.is_kept
FROM wanted w
ANTI JOIN lost USING (day, hash)
ANTI JOIN (SELECT day, head FROM lost WHERE head IS NOT NULL) l ON w.day = l.day AND w.head = l.head
