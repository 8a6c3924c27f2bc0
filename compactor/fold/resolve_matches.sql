-- Of a line and an archived event with its id, the one received later does not count.
-- An event that a line precedes is replaced, unless that line is itself a copy of another
-- archived event; a line is a copy unless the event is replaced.
CREATE OR REPLACE TEMP TABLE dropped_lines AS
SELECT line, bool_or(conflict) AS conflict
FROM archived_matches m
WHERE NOT precedes
    AND NOT EXISTS (
        FROM archived_matches r
        WHERE r.precedes AND r.file_row = m.file_row AND r.filename = m.filename
    )
GROUP BY line;

CREATE OR REPLACE TEMP TABLE replaced_rows AS
SELECT filename, file_row, bool_or(conflict) AS conflict
FROM archived_matches
WHERE precedes AND line NOT IN (SELECT line FROM dropped_lines)
GROUP BY filename, file_row;

DELETE FROM incoming WHERE rowid IN (SELECT line FROM dropped_lines);

INSERT INTO replaced_events BY NAME
SELECT DISTINCT ON (m.filename, m.file_row)
    {columns},
    regexp_extract(m.filename, 'g([0-9]+)\.parquet$', 1)::UBIGINT AS generation,
    m.file_row
FROM archived_matches m
JOIN replaced_rows r ON m.filename = r.filename AND m.file_row = r.file_row
WHERE m.precedes
