-- Lines of `incoming` whose (site, id) stands in several of them. is_copy: another line
-- counts instead; conflict: its content differs from that line's.
-- Of each sender the first received line counts. A line of version 1 may be of any sender
-- (sender NULL): it counts only if it is the first of all, and then alone.
WITH
-- The texts to compare are made once: the windows would make them for each of their columns.
repeated AS MATERIALIZED (
    SELECT
        i.rowid AS line,
        i.id_number,
        i.site,
        i.id,
        i.sender,
        {content} AS content,
        {precedence} AS precedence
    FROM incoming i
    WHERE i.id_number IN (SELECT id_number FROM repeated_numbers)
),
placed AS (
    SELECT
        line,
        sender,
        content,
        row_number() OVER copies AS place,
        row_number() OVER of_sender AS place_of_sender,
        first_value(sender) OVER copies AS first_sender,
        first_value(content) OVER copies AS first_content,
        first_value(content) OVER of_sender AS content_of_sender
    FROM repeated
    WINDOW
        -- The number separates texts that share a hash, and they those that share a number.
        -- Equal lines are ordered by their place, so that both windows order them alike.
        copies AS (PARTITION BY id_number, site, id ORDER BY precedence, line),
        of_sender AS (PARTITION BY id_number, site, id, sender ORDER BY precedence, line)
)
SELECT
    line,
    place > 1 AND (first_sender IS NULL OR sender IS NULL OR place_of_sender > 1) AS is_copy,
    content <> CASE
        WHEN first_sender IS NULL OR sender IS NULL THEN first_content
        ELSE content_of_sender
    END AS conflict
FROM placed
