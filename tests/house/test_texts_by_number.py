"""P13: no statement groups, joins, compares as a set or partitions what a client wrote
by its text. DuckDB's hash of texts has no seed, so a client could make that slow.

The product does everything once, and the plan of each statement is read. It is an error
to have SQL in the source that was not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from shared.duckdb_engine import connect
from shared.sql.texts import DICTIONARY_MAX, TextNumbers, stored_number
from tests.builders.drive import drive
from tests.builders.hashed_keys import NOT_OF_CLIENTS
from tests.builders.plans import UnknownOperator, hashed_keys
from tests.builders.sql_sources import Source, normalized, sources
from tests.builders.statements import Recorded, Statements, query_of, recorded


@pytest.fixture(scope="module")
def statements(tmp_path_factory: pytest.TempPathFactory) -> list[Recorded]:
    with pytest.MonkeyPatch.context() as patch, recorded(patch) as found:
        drive(tmp_path_factory.mktemp("drive"))
    return found


@pytest.mark.long
def test_no_statement_hashes_the_texts_of_clients(statements: list[Recorded]) -> None:
    assert {each.text: found for each in statements if (found := each.texts_of_clients())} == {}


@pytest.mark.long
def test_every_statement_in_the_source_was_run(statements: list[Recorded]) -> None:
    texts = [normalized(each.text) for each in statements]
    never = [each.place for each in sources() if not any(each.is_in(text) for text in texts)]
    assert never == [], "have tests/builders/drive.py reach it, or delete it"


@pytest.mark.long
def test_each_exception_is_needed(statements: list[Recorded]) -> None:
    hashed = {text for each in statements for keys in each.hashed for text in keys.unnumbered()}
    assert hashed == NOT_OF_CLIENTS.keys()


@pytest.mark.long
def test_every_parquet_file_has_a_bounded_dictionary(statements: list[Recorded]) -> None:
    """Its writer looks each text up by the same hash."""
    copies = [each.text for each in statements if each.text.startswith("COPY") and "FORMAT csv" not in each.text]
    assert len(copies) > 3
    assert [text for text in copies if f"DICTIONARY_SIZE_LIMIT {DICTIONARY_MAX}" not in text] == []


# --- what these tests would find

FAST, KEYED, STRONG, STORED = (
    TextNumbers(secret=7),
    TextNumbers(keyed=True, secret=7),
    TextNumbers(strong=True, secret=7),
    stored_number("(site || chr(31) || id)"),
)
_SAME = f"{STRONG.number('o.path')} = {STRONG.number('e.path')}"
BAD = {
    "SELECT path, count(*) FROM events GROUP BY path": "GROUP BY",
    "SELECT time, path, count(*) FROM events GROUP BY ALL": "GROUP BY",
    "SELECT path FROM events GROUP BY GROUPING SETS ((time), (path))": "GROUP BY",
    f"SELECT 1 FROM events GROUP BY {STRONG.number('site')}, path": "GROUP BY",
    f"SELECT 1 FROM events GROUP BY {FAST.number('path')}, path": "GROUP BY",  # which texts of one hash share
    "SELECT 1 FROM (SELECT hash(path, 'key') AS n, path FROM events) GROUP BY n, path": "GROUP BY",
    "SELECT lower(path) AS p, count(*) FROM events GROUP BY p": "GROUP BY",
    "SELECT props ->> 'k' AS p, count(*) FROM events GROUP BY p": "GROUP BY",
    "SELECT DISTINCT site FROM events": "DISTINCT",
    "SELECT DISTINCT ON (path) time FROM events": "DISTINCT",
    "SELECT time, count(DISTINCT visitor) FROM events GROUP BY time": "aggregate of DISTINCT",
    "SELECT mode(path) FROM events": "GROUP BY",
    "SELECT list_distinct(list(path)) FROM events": "list_distinct",
    "SELECT time FROM events WHERE path IN (SELECT path FROM others)": "JOIN",
    "SELECT time FROM events WHERE path NOT IN (SELECT path FROM others)": "JOIN",
    "SELECT e.time FROM events e, others o WHERE e.path = o.path": "JOIN",
    "SELECT e.time FROM events e JOIN others o USING (path, bot)": "JOIN",
    "SELECT e.time FROM events e LEFT JOIN others o ON e.path IS NOT DISTINCT FROM o.path": "JOIN",
    "SELECT e.time FROM events e ASOF JOIN others o ON e.path = o.path AND e.time >= o.time": "JOIN",
    "SELECT time FROM events e WHERE EXISTS (FROM others o WHERE o.path = e.path AND o.time < e.time)": "JOIN",
    "SELECT time FROM events WHERE session IN (SELECT unnest(['a', 'b']))": "JOIN",
    "SELECT path FROM events EXCEPT SELECT path FROM others": "LOGICAL_EXCEPT",
    "SELECT path FROM events INTERSECT SELECT path FROM others": "LOGICAL_INTERSECT",
    "SELECT path FROM events UNION SELECT path FROM others": "DISTINCT",
    "SELECT row_number() OVER (PARTITION BY visitor ORDER BY time) FROM events": "WINDOW",
    "WITH a AS MATERIALIZED (SELECT path AS p FROM events) SELECT p FROM a JOIN a AS b USING (p)": "JOIN",
    "SELECT n FROM (SELECT time, min(path) AS n FROM events GROUP BY time) GROUP BY n": "GROUP BY",
    "CREATE OR REPLACE TEMP TABLE made AS SELECT DISTINCT path FROM events": "DISTINCT",
    "INSERT INTO others BY NAME SELECT DISTINCT path FROM events": "DISTINCT",
    "COPY (SELECT DISTINCT path FROM events) TO 'file' (FORMAT parquet)": "DISTINCT",
    "DELETE FROM events WHERE path IN (SELECT path FROM others)": "JOIN",
    "SELECT DISTINCT path FROM viewed": "DISTINCT",
    "SELECT DISTINCT path FROM read_parquet($files) WHERE path > $after": "DISTINCT",
    "SELECT DISTINCT {'p': path} FROM events": "DISTINCT",
    "SELECT DISTINCT [url, path] FROM events": "DISTINCT",
    # DuckDB makes a group of each text that a subquery refers to, even for its number.
    f"SELECT 1 FROM events e WHERE EXISTS (FROM others o WHERE {_SAME})": "GROUP BY",
}
GOOD = (
    f"SELECT {FAST.number('path')} AS n, min(path), {FAST.is_ambiguous('path')} FROM events GROUP BY n",
    f"SELECT count(DISTINCT {STRONG.number('visitor')}) FROM events GROUP BY bot, time",
    f"SELECT 1 FROM events GROUP BY {STORED}, site, id",
    f"SELECT 1 FROM (SELECT {STRONG.number('path')} AS n, path FROM events) GROUP BY n, path",
    f"SELECT 1 FROM (SELECT {KEYED.number('path')} AS n, path FROM events) GROUP BY n, path",
    f"SELECT {STORED}, * FROM events EXCEPT SELECT {STORED}, * FROM others",
    f"SELECT 1 FROM events e SEMI JOIN others o ON {_SAME}",
    "SELECT time FROM events WHERE path = 'a' OR path IN ('b', 'c') ORDER BY path",
    "SELECT time FROM events UNION ALL SELECT time FROM others",
    "SELECT min(path), max(path), count(path) FROM events WHERE path IS DISTINCT FROM url",
)


@pytest.fixture
def planned(tmp_path: Path) -> Iterator[Statements]:
    columns = ", ".join(f"{name} VARCHAR" for name in ("path", "url", "site", "id", "visitor", "session", "props"))
    with duckdb.connect() as database:
        for name in ("events", "others"):
            database.execute(f"CREATE TABLE {name} (time TIMESTAMP, bot BOOLEAN, {columns})")
        database.execute("CREATE VIEW viewed AS FROM (SELECT path FROM events UNION ALL SELECT path FROM others)")
        database.execute(f"COPY events TO '{tmp_path / 'part.parquet'}' (FORMAT parquet)")
        yield Statements(database)


@pytest.mark.parametrize(("text", "operator"), BAD.items(), ids=BAD)
def test_a_statement_that_hashes_texts_is_found(planned: Statements, tmp_path: Path, text: str, operator: str) -> None:
    planned.add(text, {"files": [str(tmp_path / "part.parquet")], "after": "/"} if "$" in text else None)
    assert operator in {found for found, _ in planned.found[0].texts_of_clients()}


@pytest.mark.parametrize("text", GOOD)
def test_a_statement_by_numbers_is_not(planned: Statements, text: str) -> None:
    planned.add(text)
    assert planned.found[0].texts_of_clients() == set()


def test_a_statement_of_any_connection_is_found() -> None:
    with pytest.MonkeyPatch.context() as patch, recorded(patch) as found, closing(connect(64 << 20, 1)) as database:
        database.execute("CREATE OR REPLACE TEMP TABLE lines AS SELECT 'a' AS path")
        assert database.execute("SELECT DISTINCT path FROM lines").fetchall() == [("a",)]
    assert [each.texts_of_clients() for each in found] == [set(), {("DISTINCT", "path")}]
    assert not hasattr(duckdb.connect(), "_statements")


def test_an_operator_or_a_statement_that_is_not_known_is_no_pass(planned: Statements) -> None:
    with pytest.raises(AssertionError, match="not known"):
        query_of("MERGE INTO events USING others USING (path) WHEN MATCHED THEN DELETE")
    with duckdb.connect() as database, pytest.raises(UnknownOperator):
        hashed_keys(database, "SELECT * FROM nowhere")
    with pytest.raises(UnknownOperator):
        planned.add("WITH RECURSIVE a AS (SELECT 'x' AS t UNION SELECT t FROM a) FROM a")


def test_sql_that_was_not_run_is_found() -> None:
    found = {re.sub(r"[:,].*", "", each.place) for each in sources()}
    assert {
        "compactor/fold/choose_rows.sql",
        "compactor/repair/rebuild_days.py",
        "reports/sql/duckdb/total.sql",
    } <= found
    source = Source("a.py:1", ("SELECT path FROM", "GROUP BY path"))
    assert source.is_in(normalized("SELECT path  -- why\nFROM events\n  GROUP BY path"))
    assert not source.is_in(normalized("SELECT path FROM events ORDER BY path"))
