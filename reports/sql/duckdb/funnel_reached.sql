-- The events with which a visitor reaches a step for the first time, and those that show
-- that the order or the visitor of events is not known.
-- reaches: whether the event is the first of one of the steps; carried: more of it
{run}_latest AS NOT MATERIALIZED (
    SELECT *, max(CASE WHEN begun IS NOT NULL THEN place END) OVER (ROWS UNBOUNDED PRECEDING) AS latest_place
    FROM {run}_step_{last}
),
{run}_earlier AS NOT MATERIALIZED (
    SELECT * EXCLUDE (latest_place), lag(latest_place) OVER () AS earlier_place
    FROM {run}_latest
),
{run}_last AS NOT MATERIALIZED (
    SELECT *, begun IS NOT NULL AND coalesce(earlier_place < person, true) AS reaches_{last}
    FROM {run}_earlier
),
{run}_reached AS MATERIALIZED (
    SELECT visitor, value, daily, is_ambiguous, is_tied, is_disordered, reaches_1, {first_times}{carried_on}
    FROM {run}_last
    WHERE {reaches} OR is_ambiguous OR is_tied OR is_disordered
),
