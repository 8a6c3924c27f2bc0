"""An event is read from an archive part as it was written, whatever its id, URL and
referrer are.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from pathlib import Path

from shared.duckdb_engine import connect
from shared.schema import ARCHIVE_COLUMNS, STORED_COLUMNS
from shared.sql.archive_events import from_archive_sql, to_archive_sql

RECEIVED = datetime.fromisoformat("2025-10-25T12:26:31.892")
MADE = f"{int(RECEIVED.replace(tzinfo=UTC).timestamp() * 1000):011x}"
IDS = [
    MADE + "ab12" * 5,
    MADE + "AB12" * 5,
    MADE.upper() + "ab12" * 5,
    "0" * 11 + "c" * 20,
    "f" * 31,
    "f" * 32,
    "x" * 31,
    "abc-12345",
]
URLS = [
    (None, None),
    ("https://example.com/", "/"),
    ("https://example.com?x=/y", "/"),
    ("https://example.com", "/"),
    ("https://abc.com/a", "/a"),
    ("https://example.com/\u00fc/\u00e9?q=/\u00fc/\u00e9#x", "/\u00fc/\u00e9"),
    ("https://example.com/\U0001f468\u200d\U0001f469/x?y", "/\U0001f468\u200d\U0001f469/x"),
    ("https://example.com/a", "/not/in/it"),
]
REFERRERS = [
    (None, None),
    ("https://EXAMPLE.org/a", "example.org"),
    ("https://example.org", "example.org"),
    ("https://user@example.org:8080/?example.org", "example.org"),
    ("https://own.example/", None),
]


def test_event_is_restored_from_its_archive_columns(tmp_path: Path) -> None:
    part = tmp_path / "part.parquet"
    with connect(128 << 20, 1) as database:
        columns = ", ".join(f"{name} {kind}" for name, kind in ARCHIVE_COLUMNS.items())
        database.execute(f"CREATE TABLE event ({columns})")
        rows = [
            (id_, *url, *referrer, received)
            for id_, url, referrer, received in product(
                IDS, URLS, REFERRERS, [RECEIVED, datetime.fromisoformat("2026-11-22")]
            )
        ]
        database.executemany(
            "INSERT INTO event (id, url, path, referrer_url, referrer, time, received) VALUES ($1, $2, $3, $4, $5, "
            "$6, $6)",
            rows,
        )
        database.execute(f"COPY (FROM {to_archive_sql('event')}) TO '{part}' (FORMAT parquet)")
        source = f"read_parquet('{part}')"
        assert database.execute(f"SELECT column_name FROM (DESCRIBE FROM {source})").fetchall() == [
            (name,) for name in STORED_COLUMNS
        ]
        assert database.execute(f"(FROM event EXCEPT ALL FROM {from_archive_sql(source)})").fetchall() == []
        assert database.execute(f"SELECT count(*) FROM {from_archive_sql(source)}").fetchall() == [(len(rows),)]
        # Only the id that begins with the moment of its receipt is stored by its random
        # part.
        made = database.execute(
            f"SELECT DISTINCT id FROM {from_archive_sql(source, 'random_id')} WHERE random_id IS NOT NULL"
        ).fetchall()
        assert made == [(IDS[0],)]
