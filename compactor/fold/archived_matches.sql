-- Archived events with the (site, id) of a line of `incoming`. precedes: the line was
-- received first; conflict: their contents differ.
-- Compared by the stored form of an id, so that ids are not restored for every archived
-- event; by two joins, so that DuckDB skips row groups that contain no such client's id, or
-- no such time of receipt.
-- stored: a relation of archive parts
WITH
ids AS NOT MATERIALIZED (
    SELECT rowid AS line, site, id, {random} AS random, {received} AS received
    FROM incoming i
),
matches AS NOT MATERIALIZED (
    SELECT a.*, i.line
    FROM {stored} a JOIN ids i ON a.site = i.site AND a.client_id = i.id
    UNION ALL
    SELECT a.*, i.line
    FROM {stored} a
    JOIN ids i ON a.site = i.site AND a.random_id = i.random AND a.received = i.received
)
SELECT
    a.line,
    a.site,
    a.id,
    a.time::DATE AS day,
    {incoming_precedence} < {archived_precedence} AS precedes,
    {incoming_content} <> {archived_content} AS conflict
FROM {archived} a JOIN incoming i ON a.line = i.rowid
