-- The events of a funnel in the order of each visitor, with what tells whether the order
-- of an event and the one before it is known.
-- events (visitor, other, time, steps, value, daily): steps has bit n - 1 for step n
-- order: that of the events; $span: more ms than an event can be after another; carried:
-- more of the events
{run}_ordered AS NOT MATERIALIZED (
    SELECT visitor, other, epoch_ms(time) - $begin_ms AS since_start, steps, value, daily{carried}
    FROM {events}
    ORDER BY {order}
),
-- Windows without an order take the rows as they come, and keep none of them.
{run}_pairs AS NOT MATERIALIZED (
    SELECT
        *,
        lag(visitor) OVER () AS last_visitor,
        lag(other) OVER () AS last_other,
        lag(since_start) OVER () AS last_since,
        lag(steps) OVER () AS last_steps,
        lag(value) OVER () AS last_value
    FROM {run}_ordered
),
{run}_compared AS NOT MATERIALIZED (
    SELECT
        visitor,
        since_start,
        steps,
        value,
        daily{carried},
        visitor IS DISTINCT FROM last_visitor AS is_first,
        NOT is_first AND other IS DISTINCT FROM last_other AS is_ambiguous,
        NOT is_first AND since_start = last_since
            AND (steps <> last_steps OR steps & (steps << 1) <> 0 OR value IS DISTINCT FROM last_value) AS is_tied,
        visitor < last_visitor OR (NOT is_first AND since_start < last_since) AS is_disordered
    FROM {run}_pairs
),
{run}_people AS NOT MATERIALIZED (
    SELECT *, $span::HUGEINT * sum(is_first::INTEGER) OVER (ROWS UNBOUNDED PRECEDING) AS person
    FROM {run}_compared
),
-- A place is a time that comes after all times of the visitors before.
{run}_step_1 AS NOT MATERIALIZED (
    SELECT
        * EXCLUDE (is_first, since_start),
        person + since_start AS place,
        CASE WHEN steps & 1 <> 0 THEN place END AS begun
    FROM {run}_people
),
