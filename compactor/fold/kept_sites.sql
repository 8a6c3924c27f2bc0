-- `kept_sites`: the sites of a day that have rows of their own: those of FOLDLOG_SITES, and
-- of the others at most $max_values. Sites with equally many events stay or go together.
CREATE OR REPLACE TEMP TABLE kept_sites AS
WITH
others AS (
    FROM site_counts
    WHERE number NOT IN (SELECT number FROM own_sites)
),
least AS (
    SELECT min(events) AS least
    FROM (
        SELECT events, sum(count(*)) OVER (ORDER BY events DESC) AS most
        FROM others
        GROUP BY events
    )
    WHERE most <= $max_values
)
SELECT number FROM own_sites
UNION ALL
SELECT number FROM others WHERE events >= (SELECT least FROM least)
