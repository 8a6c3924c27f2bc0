-- Lines of `incoming` whose (site, id) stands in several of them: place 1 is the line that
-- counts; conflict: its content differs from that of place 1.
-- Equal ids have equal hashes, and numbers are grouped in two thirds of the time of texts.
-- The window separates ids that merely share a hash.
SELECT
    i.rowid AS line,
    row_number() OVER copies AS place,
    {content} <> first_value({content}) OVER copies AS conflict
FROM incoming i
WHERE hash(site, id) IN (SELECT hash(site, id) FROM incoming GROUP BY ALL HAVING count(*) > 1)
WINDOW copies AS (PARTITION BY i.site, i.id ORDER BY {precedence})
