-- `new_counters`: the rows of `grouped` with texts in place of numbers. A site or an event
-- without a number is one that is not kept, and so is a value where is_other.
CREATE OR REPLACE TEMP TABLE new_counters AS
SELECT
    g.day,
    g.bucket,
    coalesce(s.text, '{other}') AS site,
    g.bot,
    CASE g.dimension
        WHEN '{total}' THEN NULL
        WHEN '{event}' THEN CASE WHEN g.is_other THEN '{other}' ELSE v.text END
        ELSE coalesce(e.text, '{other}')
    END AS event,
    g.dimension || CASE WHEN g.by_quarter THEN '' ELSE '{day_rows}' END AS dimension,
    CASE WHEN g.dimension <> '{event}' THEN CASE WHEN g.is_other THEN '{other}' ELSE v.text END END AS value,
    g.events,
    NULL::BIGINT AS visitors
FROM grouped g
LEFT JOIN texts s ON s.dimension = 'site' AND s.number = g.site
LEFT JOIN texts e ON e.dimension = '{event}' AND e.number = g.event
LEFT JOIN texts v ON v.dimension = g.dimension AND v.number = g.value
