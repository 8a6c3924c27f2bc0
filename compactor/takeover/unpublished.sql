-- Events of a restored directory that the published generation does not have. As in a fold,
-- an event is a copy of one with its id on a day near its own that was received no later.
-- local_number, published_number: numbers of ids, by which they are joined
SELECT e.* REPLACE (epoch_ms(e.time) AS time, epoch_ms(e.received) AS received)
FROM {local} e
ANTI JOIN {published} p
    ON {published_number} = {local_number}
    AND p.site = e.site
    AND p.id = e.id
    AND (p.sender = e.sender OR p.sender IS NULL OR e.sender IS NULL)
    AND p.received <= e.received
    AND abs(date_diff('day', p.time, e.time)) <= $window
