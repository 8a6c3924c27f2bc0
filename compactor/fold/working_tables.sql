-- The working tables of a fold, all temporary, and what the other files of this folder
-- compute with. The columns of `incoming` are those of shared/schema.py, then numbers
-- that stand for texts (shared/sql/texts.py).

-- One row per log line that is folded; deduplication deletes from it.
-- id_number: of site and id, as the index of ids stores it; is_server_id: the id has the
-- form of one that the server makes; is_indexed: the archive stores it as a client's
CREATE OR REPLACE TEMP TABLE incoming (
    v INTEGER,
    {incoming_columns},
    agent_number {number},
    id_number UBIGINT,
    is_server_id BOOLEAN,
    is_indexed BOOLEAN
);

-- Browser, system, device class and bot flag of each user agent of `incoming`.
CREATE OR REPLACE TEMP TABLE user_agents (
    number {number}, browser VARCHAR, os VARCHAR, device VARCHAR, bot BOOLEAN
);

-- The events of `incoming`, with all columns of the archive.
CREATE OR REPLACE TEMP VIEW new_events AS
SELECT i.* EXCLUDE (v, is_server_id, is_indexed, agent_number, id_number), a.browser, a.os, a.device, coalesce(a.bot, false) AS bot
FROM incoming i LEFT JOIN user_agents a ON i.agent_number = a.number;

-- Archived events that an earlier received line of `incoming` replaces: as archived, with
-- the generation of their part and the number of their row in it.
CREATE OR REPLACE TEMP TABLE replaced_events (
    {archive_columns}, generation UBIGINT, file_row BIGINT
);

-- `instr` and `substr` take half the time of `split_part`, which makes a list of all
-- pieces, and less than regular expressions. Arguments are evaluated at every occurrence:
-- pass columns.
CREATE OR REPLACE TEMP MACRO before_first(text, mark) AS
    CASE WHEN contains(text, mark) THEN left(text, instr(text, mark) - 1) ELSE text END;

CREATE OR REPLACE TEMP MACRO after_first(text, mark) AS
    CASE
        WHEN contains(text, mark) THEN substr(text, instr(text, mark) + length(mark))
        WHEN text IS NOT NULL THEN ''
    END;

CREATE OR REPLACE TEMP MACRO is_www_of(host, site) AS starts_with(host, 'www.') AND substr(host, 5) = site;

CREATE OR REPLACE TEMP MACRO plus_to_space(text) AS
    CASE WHEN contains(text, '+') THEN replace(text, '+', ' ') ELSE text END;

-- A text that does not decode (a lone %, bytes that are not UTF-8) stays as it was sent:
-- one odd URL must not stop the fold.
CREATE OR REPLACE TEMP MACRO percent_decoded(text) AS
    CASE WHEN contains(text, '%') THEN coalesce(TRY(url_decode(text)), text) ELSE text END;

-- At most 200 characters; a text with fewer bytes has no more.
CREATE OR REPLACE TEMP MACRO shortened(text) AS CASE WHEN strlen(text) > 200 THEN left(text, 200) ELSE text END;
