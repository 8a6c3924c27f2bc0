-- kept_values and `choice` as choose_rows.sql makes them: what the published counters of a
-- day have rows of, in one dimension. On days of an earlier format these name the site and
-- the event of `(other)`, too.
-- rows: published counters; names: of the dimension; site, event, value: numbers of texts
CREATE OR REPLACE TEMP TABLE published_rows AS
SELECT DISTINCT {site} AS site, {event} AS event, {value} AS value, is_other, has_site
FROM (
    SELECT
        CASE WHEN site <> '{other}' THEN site END AS site,
        site <> '{other}' AS has_site,
        CASE WHEN NOT {is_event} AND event <> '{other}' THEN event END AS event,
        CASE WHEN {is_event} THEN event ELSE value END AS shown,
        coalesce(shown = '{other}', false) AS is_other,
        CASE WHEN NOT is_other THEN shown END AS value
    FROM {rows}
    WHERE list_contains({names}::VARCHAR[], dimension) AND visitors IS NULL
);

CREATE OR REPLACE TEMP TABLE kept_values AS
SELECT DISTINCT value FROM published_rows WHERE NOT is_other;

CREATE OR REPLACE TEMP TABLE choice AS
SELECT DISTINCT site, event, value, is_other FROM published_rows WHERE has_site OR event IS NOT NULL
