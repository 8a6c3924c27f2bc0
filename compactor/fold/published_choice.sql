-- `choice`: what the published counters of a day have rows of, in one dimension.
-- rows: published counters; names: of the dimension; site, event, value: numbers of texts
CREATE OR REPLACE TEMP TABLE choice AS
SELECT DISTINCT {site} AS site, unnest([NULL, {event}]) AS event, {value} AS value, is_other
FROM (
    SELECT
        CASE WHEN site <> '{other}' THEN site END AS site,
        CASE WHEN dimension NOT IN ('{event_dimension}', '{event_dimension}{day_rows}') AND event <> '{other}' THEN event END AS event,
        CASE WHEN dimension IN ('{event_dimension}', '{event_dimension}{day_rows}') THEN event ELSE value END AS shown,
        coalesce(shown = '{other}', false) AS is_other,
        CASE WHEN NOT is_other THEN shown END AS value
    FROM {rows}
    WHERE list_contains({names}::VARCHAR[], dimension) AND visitors IS NULL
)
