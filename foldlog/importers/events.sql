-- What becomes of each line of a block: `why` is 0 for an event, else the place of its
-- reason in REASONS. One row: for each reason how many lines and the first of them; ids
-- (32 characters each) and the rest of each event's JSON, one a line, in the same order.
-- parsed: the columns of each line; site: SQL of the site, NULL for another host;
-- is_mended: which row of `mended` is that of a line; is_excluded: whether it is of own
-- traffic
WITH
mended_columns AS (
    SELECT
        parsed.* REPLACE (
            coalesce(mended.target, parsed.target) AS target,
            coalesce(mended.referrer, parsed.referrer) AS referrer,
            coalesce(mended.agent, parsed.agent) AS agent,
            coalesce(mended.network, parsed.network) AS network
        ),
        parsed.target AS logged_target,
        parsed.agent AS logged_agent,
        parsed.referrer AS logged_referrer
    FROM parsed
    LEFT JOIN mended ON {is_mended}
),
typed AS (
    SELECT
        *,
        -- Most targets have no query and no dot: looking costs less than taking apart.
        CASE
            WHEN contains(target, '?') OR contains(target, '#') THEN regexp_extract(target, '^[^?#]*')
            ELSE target
        END AS path,
        CASE
            WHEN contains(target, '.')
            THEN lower(regexp_extract(target, '^[^?#]*\.([A-Za-z0-9]{1,11})(?:[?#]|$)', 1))
            ELSE ''
        END AS ending
    FROM mended_columns
),
sited AS (
    SELECT *, {site} AS site, {type} AS type FROM typed
),
judged AS (
    SELECT
        *,
        CASE
            WHEN is_comment THEN 8
            WHEN network = '' OR time_ms IS NULL OR status = '' THEN 1
            WHEN time_ms < 0 THEN 2
            WHEN time_ms > $latest_ms THEN 3
            WHEN method <> 'GET' OR target = '' THEN 4
            WHEN {is_excluded} THEN 9
            WHEN site IS NULL THEN 5
            WHEN $not_found AND status IN ('404', '410') THEN
                CASE WHEN $pages_only AND type NOT IN ('page', 'document') THEN 7 ELSE 0 END
            WHEN $pages_only AND NOT (status = '304' OR status BETWEEN '200' AND '299') THEN 6
            WHEN $pages_only AND type NOT IN ('page', 'document') THEN 7
            ELSE 0
        END AS why
    FROM sited
),
events AS (
    SELECT
        i,
        why,
        CASE WHEN why = 0 THEN concat(
            left(sha256(concat(
                $source, chr(10), {host}, chr(10), time_ms, chr(10), logged_target, chr(10), status, chr(10), size,
                chr(10), logged_referrer, chr(10), logged_agent
            )), 32),
            '","name":"', CASE WHEN $not_found AND status IN ('404', '410') THEN 'not_found' ELSE 'pageview' END,
            '","time":"', strftime(make_timestamp_ms(time_ms), '%Y-%m-%dT%H:%M:%S.%gZ'),
            '","visitor":"', translate(to_base64(unhex(left(sha256(concat(
                $salt, time_ms // 86400000, chr(10), site, chr(10), network, chr(10), agent
            )), 24))), '+/', '-_'),
            '","daily":true,"url":', to_json(left(concat('https://', site, target), 2000)),
            CASE
                WHEN referrer <> '-' AND regexp_matches(referrer, '^(?i)(?:https?|android-app|ios-app)://')
                THEN concat(',"referrer":', to_json(left(referrer, 2000)))
            END,
            ',"props":{"status":', status, ',"type":"', type, '"},"site":"', site, '"',
            CASE WHEN agent NOT IN ('', '-') THEN concat(',"ua":', to_json(left(agent, 2000))) END,
            ',"consent":"imported","sender":"import"'
        ) END AS event
    FROM judged
)
SELECT string_agg(event, chr(10)) AS events, string_agg(why, '') AS reasons
FROM events
