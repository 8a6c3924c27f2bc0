-- The same for ids that the server made: their time is that of the archived receipt, so
-- that DuckDB skips row groups of other times.
-- paths: SQL of a list of archive parts
WITH
sought AS MATERIALIZED (
    SELECT i.rowid AS line, i.site, i.id, i.id_number, {received} AS received
    FROM incoming i
    WHERE i.is_server_id
),
candidates AS MATERIALIZED (
    SELECT filename, file_row_number, site, {archived_id} AS id
    FROM read_parquet({paths}, file_row_number = true, hive_partitioning = false)
    WHERE random_id IS NOT NULL
        AND received >= (SELECT min(received) FROM sought)
        AND received <= (SELECT max(received) FROM sought)
        AND received IN (SELECT received FROM sought)
)
SELECT s.line, c.filename, c.file_row_number AS file_row
FROM candidates c JOIN sought s ON {archived_number} = s.id_number
WHERE c.site = s.site AND c.id = s.id
