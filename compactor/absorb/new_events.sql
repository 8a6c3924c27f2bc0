-- `absorbed_events`: events of a day of the absorbed instance, but those whose id this
-- directory has on a day near: no claim compared them, as both are long past.
-- their_number, our_number: numbers of ids, by which they are joined
CREATE OR REPLACE TEMP TABLE absorbed_events AS
SELECT e.*
FROM {theirs} e
ANTI JOIN {ours} p
    ON {our_number} = {their_number}
    AND p.site = e.site
    AND p.id = e.id
    AND (p.sender = e.sender OR p.sender IS NULL OR e.sender IS NULL)
    AND abs(date_diff('day', p.time, e.time)) <= $window
