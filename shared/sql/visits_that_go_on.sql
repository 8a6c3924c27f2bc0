-- How many visits go on on the following day, and one number of all of
-- them: two sets of visits that differ have another one.
-- visits: with the columns of visits_of_day.sql; following: the day
SELECT
    count(*),
    coalesce(bit_xor(md5_number(concat_ws(
        chr(31), bot, daily, length(site), site, length(visitor), visitor,
        session IS NULL, session, epoch_ms(begun_at), epoch_ms(ended_at)
    ))), 0)
FROM {visits}
WHERE ended_at >= {following}
