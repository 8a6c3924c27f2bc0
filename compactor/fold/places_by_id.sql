-- Where in archive parts the ids of these lines stand: file and number of the row.
-- Only rows whose id has the number of one that is sought are compared as texts.
-- paths: SQL of a list of archive parts; lines: (line) of `incoming`; hash: of a text
WITH
sought AS MATERIALIZED (
    SELECT i.rowid AS line, i.site, i.id, i.id_number, {sought_hash} AS hash
    FROM incoming i
    WHERE i.rowid IN (SELECT line FROM {lines})
),
candidates AS MATERIALIZED (
    SELECT filename, file_row_number, site, client_id
    FROM read_parquet({paths}, file_row_number = true, hive_partitioning = false)
    WHERE {archived_hash} IN (SELECT hash FROM sought)
)
SELECT s.line, c.filename, c.file_row_number AS file_row
FROM candidates c JOIN sought s ON {archived_number} = s.id_number
WHERE c.site = s.site AND c.client_id = s.id
