-- The working tables of a fold, all temporary, and what the other files of this folder
-- compute with. The columns of `incoming` are those of shared/schema.py, then numbers
-- that stand for texts (shared/sql/texts.py).

-- One row per log line that is folded; deduplication deletes from it.
-- id_number: of site and id, as this process joins it; is_server_id: the id has the
-- form of one that the server makes; is_indexed: the archive stores it as a client's;
-- is_spam: its referrer is one that the operator named
CREATE OR REPLACE TEMP TABLE incoming (
    v INTEGER,
    {incoming_columns},
    agent_number {number},
    id_number UBIGINT,
    is_server_id BOOLEAN,
    is_indexed BOOLEAN,
    is_spam BOOLEAN
);

-- Browser, system, device class and bot flag of each user agent of `incoming`.
CREATE OR REPLACE TEMP TABLE user_agents (
    number {number}, browser VARCHAR, os VARCHAR, device VARCHAR, bot BOOLEAN
);

-- The events of `incoming`, with all columns of the archive and is_indexed.
CREATE OR REPLACE TEMP VIEW new_events AS
SELECT
    i.* EXCLUDE (v, is_server_id, is_spam, agent_number, id_number),
    a.browser, a.os, a.device, i.is_spam OR coalesce(a.bot, false) AS bot
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

-- The host within what stands before the first '/': without query, fragment, user, port
-- and the dots that end a full name. `host_of` of shared/host_names.py is the same. A to Z
-- alone have a lower case, as in DNS: `lower` makes an i of a dotted capital I, and with it
-- one host of another.
CREATE OR REPLACE TEMP MACRO host_as_written(text) AS rtrim(
    CASE
        WHEN contains(text, ':') OR contains(text, '@') OR contains(text, '?') OR contains(text, '#')
        THEN regexp_extract(text, '^(?:[^?#]*@)?(\[[^\]?#@]*\]|[^?#:@\[]*)', 1)
        ELSE text
    END,
    '.'
);

CREATE OR REPLACE TEMP MACRO host_name(text) AS
    CASE
        WHEN strlen(text) = length(text) THEN lower(host_as_written(text))
        ELSE translate(host_as_written(text), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')
    END;

-- A text that does not decode (a lone %, bytes that are not UTF-8) stays as it was sent:
-- one odd URL must not stop the fold.
CREATE OR REPLACE TEMP MACRO decoded(text) AS
    coalesce(TRY(url_decode(replace(text, '+', ' '))), replace(text, '+', ' '));

-- A value of a query as a text of at most 200 characters, NULL if it is empty. A text with
-- fewer bytes has no more, and most need no decoding.
CREATE OR REPLACE TEMP MACRO form_value(text) AS
    CASE
        WHEN contains(text, '%') OR contains(text, '+') OR strlen(text) > 200
        THEN nullif(left(decoded(text), 200), '')
        WHEN text <> '' THEN text
    END;
