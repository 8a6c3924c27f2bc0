-- Log lines with what their URLs contain: path, host of the referrer (NULL for the site's
-- own), utm parameters; and with the property `screen`, where it is a size or names a class.
-- One subquery per step, because DuckDB re-evaluates a nested expression at every
-- occurrence; few steps, because each costs a small pass a millisecond of planning.
-- lines: the lines as they are read; $sites: hosts that are the site's own
WITH
split_1 AS NOT MATERIALIZED (
    SELECT *, before_first(url, '#') AS page, after_first(referrer, '://') AS host
    FROM ({lines})
),
split_2 AS NOT MATERIALIZED (
    SELECT
        * REPLACE (before_first(host, '/') AS host),
        before_first(page, '?') AS place,
        CASE
            WHEN contains(lower(page), 'utm_') AND contains(page, '?')
            THEN '&' || substr(page, instr(page, '?') + 1)
        END AS query
    FROM split_1
),
split_3 AS NOT MATERIALIZED (
    SELECT
        * EXCLUDE (page, query)
        REPLACE (host_name(host) AS host, substr(place, instr(page, '://') + 3) AS place),
        -- The first that is not empty, in whatever case its name is written; behind
        -- `&`, or behind a `;`, which older servers write, and which ends `&amp;`.
        regexp_extract(query, '(?i)(?:[&;]|%3B)utm_source=([^&]+?)(?:&|;utm_|$)', 1) AS utm_source,
        regexp_extract(query, '(?i)(?:[&;]|%3B)utm_medium=([^&]+?)(?:&|;utm_|$)', 1) AS utm_medium,
        regexp_extract(query, '(?i)(?:[&;]|%3B)utm_campaign=([^&]+?)(?:&|;utm_|$)', 1) AS utm_campaign
    FROM split_2
)
SELECT
    * EXCLUDE (place, host, utm_source, utm_medium, utm_campaign) REPLACE (
        -- Few events have the property: to search the text costs less than to parse it.
        coalesce(screen, CASE
            WHEN contains(props, '"screen"')
            THEN nullif(regexp_extract(json_extract_string(props, '/screen'), '^[\pL\pN .:+_-]{1,32}$'), '')
        END) AS screen
    ),
    CASE
        WHEN url IS NULL THEN NULL
        WHEN contains(place, '/') THEN substr(place, instr(place, '/'))
        ELSE '/'
    END AS path,
    CASE
        WHEN host = '' OR host = site OR is_www_of(host, site) OR is_www_of(site, host) THEN NULL
        WHEN list_contains($sites::VARCHAR[], host) THEN NULL
        ELSE host
    END AS referrer_host,
    form_value(utm_source) AS utm_source,
    form_value(utm_medium) AS utm_medium,
    form_value(utm_campaign) AS utm_campaign
FROM split_3
