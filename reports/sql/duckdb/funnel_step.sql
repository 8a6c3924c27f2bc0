-- One more step: of each event with which a chain of {step} events ends, the latest place
-- at which such a chain begins; and, of the step before, which event is a visitor's first.
-- The later an event, the later the latest beginning of a chain that ends before it.
{run}_latest_{step} AS NOT MATERIALIZED (
    SELECT
        *,
        max(begun) OVER (ROWS UNBOUNDED PRECEDING) AS latest_begun,
        max(CASE WHEN begun IS NOT NULL THEN place END) OVER (ROWS UNBOUNDED PRECEDING) AS latest_place
    FROM {run}_step_{before}
),
{run}_earlier_{step} AS NOT MATERIALIZED (
    SELECT
        * EXCLUDE (latest_begun, latest_place),
        lag(latest_begun) OVER () AS earlier_begun,
        lag(latest_place) OVER () AS earlier_place
    FROM {run}_latest_{step}
),
{run}_step_{step} AS NOT MATERIALIZED (
    SELECT
        * EXCLUDE (begun, earlier_begun, earlier_place),
        begun IS NOT NULL AND coalesce(earlier_place < person, true) AS reaches_{before},
        CASE WHEN steps & {bit} <> 0 AND place - earlier_begun <= $window_ms THEN earlier_begun END AS begun,
        (place - earlier_place)::BIGINT AS since_{step},
        (place - earlier_begun)::BIGINT AS total_{step}
    FROM {run}_earlier_{step}
),
