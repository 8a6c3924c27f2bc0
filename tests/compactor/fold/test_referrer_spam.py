"""Referrer spam counts as a bot's; a file that is damaged stops no pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from compactor.fold.referrer_spam import FILE_MAX_BYTES, is_spam, spam_hosts
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.sql.archive_events import from_archive_sql
from tests.builders.archive import assert_verified
from tests.builders.logs import data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog

REFERRERS = {
    "https://spam.example/x": True,
    "https://buttons.spam.example:8443/": True,
    "https://SPAM.example./": True,
    "https://[2001:db8::bad]:8080/": True,
    "https://notspam.example/": False,
    "https://example/": False,
    "https://spam.example.org/": False,
    None: False,
}


def test_events_from_named_hosts_and_their_subdomains_are_bots(tmp_path: Path) -> None:
    named = tmp_path / "spam.txt"
    named.write_bytes(b"\xef\xbb\xbf# a list\r\nSpam.Example.  # and why\n\n[2001:db8::bad]\n")
    data = data_directory(tmp_path)
    sealed(data, [line(f"event-{number}", referrer=referrer) for number, referrer in enumerate(REFERRERS)])
    fold(data, referrer_spam_file=named)
    with connect(128 << 20, 1) as database:
        paths = [str(path) for path in data.archive.glob("*/*.parquet")]
        events = from_archive_sql("read_parquet($1)")
        rows = database.execute(f"SELECT id, bot FROM {events} ORDER BY id", [paths]).fetchall()
    assert [bot for _, bot in rows] == list(REFERRERS.values())
    assert_verified(data)


def test_unreadable_file_stops_no_pass(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1", referrer="https://spam.example/x")])
    log = SilentLog()
    fold(data, log=log, referrer_spam_file=tmp_path)
    assert "referrer_spam_unreadable" in log.warnings
    assert load_snapshot(data).totals.counted == 1


@pytest.mark.parametrize("content", [None, b"x" * (FILE_MAX_BYTES + 1)], ids=["absent", "too large"])
def test_file_that_cannot_be_read_is_said(tmp_path: Path, content: bytes | None) -> None:
    log, path = SilentLog(), tmp_path / "spam.txt"
    if content is not None:
        path.write_bytes(content)
    assert spam_hosts(path, log) == frozenset()
    assert log.warnings == ["referrer_spam_unreadable"]


def test_lines_that_are_no_hosts_are_counted_and_left_out(tmp_path: Path) -> None:
    log, path = SilentLog(), tmp_path / "spam.txt"
    path.write_bytes(b"good.example\nhttps://a.example/\n\xff\xfe\n*.b.example\n")
    assert spam_hosts(path, log) == {"good.example"}
    assert log.entries == [("referrer_spam_lines", {"path": str(path), "lines": 3, "first": 2})]


def test_cost_of_a_host_is_bounded() -> None:
    assert not is_spam("." * 1_000_000, frozenset({"spam.example"}))
    assert is_spam("a." * 100 + "spam.example", frozenset({"spam.example"}))
