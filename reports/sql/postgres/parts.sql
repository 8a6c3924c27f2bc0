-- The bytes of parts, by their place among the parameters: a list for each column.
SELECT wanted.place, part.body
FROM unnest(%s::uuid[], %s::text[], %s::date[], %s::bigint[], %s::text[])
    WITH ORDINALITY AS wanted (instance, kind, day, generation, sha256, place)
JOIN analytics_parts part USING (instance, kind, day, generation, sha256)
