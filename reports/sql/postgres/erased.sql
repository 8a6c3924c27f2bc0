-- Visitors who are to be erased from what retired instances have published.
SELECT f.instance::text, o.visitor, o.site
FROM analytics_folded AS f
JOIN analytics_orders AS o ON NOT f.instance = ANY (o.confirmed)
WHERE f.retired_at IS NOT NULL AND o.ended_at IS NULL
ORDER BY f.instance, o.request
