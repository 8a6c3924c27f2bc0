-- The archived events of a day whose ids are in `lost`, as the fold has events that are
-- replaced, and in `yielded_rows` with the claim that counts them.
-- hashes: (hash, filename, file_row); events: these archived events with their places
CREATE OR REPLACE TEMP TABLE lost_places AS
SELECT DISTINCT ON (h.filename, h.file_row) h.filename, h.file_row, l.hash, l.winner, l.winner_epoch, l.winner_day
FROM {hashes} h JOIN lost l ON h.hash = l.hash
WHERE l.day = $day
ORDER BY h.filename, h.file_row, l.hash;

CREATE TEMP TABLE IF NOT EXISTS replaced_rows (filename VARCHAR, file_row BIGINT, conflict BOOLEAN);

INSERT INTO replaced_rows SELECT filename, file_row, false FROM lost_places;

CREATE OR REPLACE TEMP TABLE lost_events AS
SELECT e.*, p.hash, p.winner, p.winner_epoch, p.winner_day
FROM {events} e JOIN lost_places p ON e.file_row = p.file_row AND e.filename = p.filename;

INSERT INTO replaced_events BY NAME
SELECT {columns}, regexp_extract(filename, 'g([0-9]+)\.parquet$', 1)::UBIGINT AS generation, file_row
FROM lost_events;

CREATE TEMP TABLE IF NOT EXISTS yielded_rows AS FROM (SELECT * EXCLUDE (filename, file_row) FROM lost_events) LIMIT 0;

INSERT INTO yielded_rows SELECT * EXCLUDE (filename, file_row) FROM lost_events
