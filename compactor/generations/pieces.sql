-- `pieces`: to each row of `unsorted` the piece that it is sorted in. Pieces follow each
-- other in the order of the key, and each has about $piece_bytes bytes.
-- key, bytes: of a row
CREATE OR REPLACE TEMP TABLE pieces AS
WITH sized AS (
    SELECT e.rowid AS row, {key} AS key, {bytes} AS bytes
    FROM unsorted e
)
SELECT row, (sum(bytes) OVER (ORDER BY key, row) // $piece_bytes)::INTEGER AS piece
FROM sized
