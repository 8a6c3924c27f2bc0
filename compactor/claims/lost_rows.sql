-- The archived events whose ids are in `lost`: as the fold has events that are replaced, and
-- in `yielded_rows` with the claim that counts them.
-- hashes: (hash, time, filename, file_row) of these archive parts; events: their events, each
-- with its file and row; columns: of replaced_events
CREATE OR REPLACE TEMP TABLE lost_places AS
SELECT DISTINCT ON (h.filename, h.file_row) h.filename, h.file_row, l.hash, l.winner, l.winner_epoch, l.winner_day
FROM {hashes} h JOIN lost l ON h.hash = l.hash
WHERE l.day = h.time::DATE
ORDER BY h.filename, h.file_row, l.hash;

CREATE OR REPLACE TEMP TABLE replaced_rows AS
SELECT filename, file_row, false AS conflict FROM lost_places;

CREATE OR REPLACE TEMP TABLE yielded_rows AS
SELECT e.*, p.hash, p.winner, p.winner_epoch, p.winner_day
FROM {events} e JOIN lost_places p ON e.file_row = p.file_row AND e.filename = p.filename;

INSERT INTO replaced_events BY NAME
SELECT {columns}, regexp_extract(filename, 'g([0-9]+)\.parquet$', 1)::UBIGINT AS generation, file_row
FROM yielded_rows
