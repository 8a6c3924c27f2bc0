-- Lines of `incoming` and the archived events with their ids, from `places`, where they
-- stand. precedes: the line was received first; conflict: their contents differ.
-- An event or a line of version 1 may be of any sender (sender NULL).
-- stored: a relation of these archive parts, with filename and file_row
SELECT
    p.line,
    p.file_row,
    p.filename,
    {incoming_precedence} < {archived_precedence} AS precedes,
    {incoming_content} <> {archived_content} AS conflict,
    a.* EXCLUDE (filename, file_row)
FROM {archived} a
JOIN places p ON a.file_row = p.file_row AND a.filename = p.filename
JOIN incoming i ON p.line = i.rowid
WHERE a.sender IS NULL OR i.sender IS NULL OR a.sender = i.sender
