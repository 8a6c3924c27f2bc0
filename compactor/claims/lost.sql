-- Add to `lost` the wanted ids that another instance has claimed in blocks after $since, on a
-- day so near that both may be copies of one event, and by which claim.
INSERT INTO lost
SELECT DISTINCT ON (w.day, w.hash, w.head)
    w.day,
    w.hash,
    w.head,
    c.instance AS winner,
    c.epoch_name AS winner_epoch,
    c.day AS winner_day
FROM (FROM wanted ANTI JOIN lost USING (day, hash)) w
JOIN known.claims c ON w.hash = c.hash
WHERE c.seq > $since AND c.instance <> $instance::UUID AND abs(date_diff('day', w.day, c.day)) <= $window
ORDER BY w.day, w.hash, w.head, c.instance, c.day
