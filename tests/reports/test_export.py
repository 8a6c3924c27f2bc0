"""An export that does not fit into memory is sorted in pieces: the same events in the
same order.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from reports.export import Room, export, room_for_export
from reports.query import parse
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from tests.builders.logs import NOON, data_directory, fold, line, sealed

DAY_MS = 86_400_000
MEMORY = 256 << 20
EVENTS = 144  # in the span that is asked for


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """Two days, of which many events have one time, some one time and site, and some
    one id on two sites.
    """
    data = data_directory(tmp_path_factory.mktemp("export") / "data")
    for part in range(2):
        lines = [
            line(
                f"event-{n // 2}-{part}",
                NOON - (n % 5) * 1000 - (n % 2) * DAY_MS,
                NOON,
                site=f"{n * 7 % 3}.example.org",
                props={"k": "x" * (n % 90)},
            )
            for n in range(120)
        ]
        sealed(data, lines)
        fold(data)
    return data


@pytest.fixture
def room(data: DataDirectory) -> Iterator[Room]:
    with room_for_export(data, MEMORY, 0) as room:
        yield room


def exported(room: Room, data: DataDirectory, format_: str) -> bytes:
    query = parse({"from": "2026-11-21T12:00:00Z", "to": "2026-11-23T00:00:00Z"}, datetime.now(UTC), "UTC")
    out = io.BytesIO()
    export(room, data, load_snapshot(data), query, format_, out)
    return out.getvalue()


PIECES = [
    ("ndjson", 4),
    ("csv", 800),
    *(pytest.param(*each, marks=pytest.mark.long) for each in (("ndjson", 800), ("csv", 4))),
    *(pytest.param(format_, 8_000, marks=pytest.mark.long) for format_ in ("ndjson", "csv")),
]


@pytest.mark.parametrize(("format_", "memory_bytes"), PIECES)
def test_pieces_say_what_the_whole_says(data: DataDirectory, room: Room, format_: str, memory_bytes: int) -> None:
    whole = exported(room, data, format_)
    assert whole.count(b"\n") == EVENTS + (format_ == "csv")
    assert exported(room._replace(memory_bytes=memory_bytes), data, format_) == whole
    assert len(list(room.spill.glob("piece-*"))) > 2


def test_parquet_of_pieces_is_in_order(data: DataDirectory, room: Room, tmp_path: Path) -> None:
    rows = []
    for memory_bytes in (MEMORY, 8_000):
        path = tmp_path / f"{memory_bytes}.parquet"
        path.write_bytes(exported(room._replace(memory_bytes=memory_bytes), data, "parquet"))
        with duckdb.connect() as database:
            rows.append(database.execute("SELECT * FROM read_parquet($1)", [str(path)]).fetchall())
    assert rows[0] == rows[1] and len(rows[0]) == EVENTS


def test_pieces_take_no_more_of_the_disk_than_they_may(data: DataDirectory, room: Room) -> None:
    with pytest.raises(duckdb.OutOfMemoryException):
        exported(room._replace(memory_bytes=8_000, spill_bytes=1000), data, "ndjson")
    assert list(room.spill.glob("piece-*"))


def test_spill_is_gone_after_the_export(data: DataDirectory) -> None:
    with room_for_export(data, 40_000_000, 0) as room:
        exported(room._replace(memory_bytes=8_000), data, "ndjson")
        assert room.spill.parent == data.report_spill
    assert list(data.report_spill.iterdir()) == []
