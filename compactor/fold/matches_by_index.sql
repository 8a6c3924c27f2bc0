-- Lines of `incoming` and the archive parts in whose index of ids theirs stands: the file
-- of the index. A few of these parts may hold another id of the same number.
-- index: SQL of a list of index files; number: of one of theirs, as `incoming` has it
SELECT i.rowid AS line, x.filename AS index_file
FROM read_parquet({index}, hive_partitioning = false) x JOIN incoming i ON {number} = i.id_number
