-- `lost`: the wanted ids that another instance has claimed, on a day so near that both may
-- be copies of one event, and by which claim.
CREATE OR REPLACE TEMP TABLE lost AS
SELECT DISTINCT ON (w.day, w.hash)
    w.day,
    w.hash,
    c.instance AS winner,
    c.epoch_name AS winner_epoch,
    c.day AS winner_day
FROM wanted w JOIN known.claims c ON w.hash = c.hash
WHERE c.instance <> $instance::UUID AND abs(date_diff('day', w.day, c.day)) <= $window
ORDER BY w.day, w.hash, c.instance, c.day
