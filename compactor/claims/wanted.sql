-- wanted: ids to be claimed, as hashes, with the UTC day of the event that counts; yielded:
-- ids of this host that another instance counts, and by which claim.
CREATE OR REPLACE TEMP TABLE wanted (day DATE, hash UUID);

CREATE OR REPLACE TEMP TABLE yielded (day DATE, hash UUID, winner UUID, winner_epoch UUID, winner_day DATE)
