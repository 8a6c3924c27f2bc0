"""What does not fit into memory is put in order in pieces, and is the same events."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from compactor.generations import clustered
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.timestamps import utc_day
from tests.builders.archive import archived, assert_verified, counters
from tests.builders.logs import NOON, data_directory, fold, line, sealed

DAY_MS = 86_400_000
MEMORY = 256 << 20


def two_parts(root: Path) -> DataDirectory:
    """Of 4,000 events of 1 KB, of ten visitors, in no order."""
    data = data_directory(root)
    for part in range(2):
        sealed(
            data,
            [
                line(
                    f"event-{part}-{n:05d}",
                    NOON - n,
                    NOON,
                    visitor=f"visitor-{n * 7 % 10}",
                    props={"k": f"{n:05d}" * 200},
                )
                for n in range(2000)
            ],
        )
        fold(data, fold_memory=MEMORY)
    return data


@pytest.mark.parametrize(
    ("share", "pieces_max", "is_ordered"),
    [(4, 16, True), pytest.param(400, 16, True, marks=pytest.mark.long), (400, 2, False)],
)
def test_pieces_are_in_order_and_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: int, pieces_max: int, is_ordered: bool
) -> None:
    data = two_parts(tmp_path)
    before = archived(data)
    counted = counters(data)
    monkeypatch.setattr(clustered, "SORTED_SHARE", share)
    monkeypatch.setattr(clustered, "PIECES_MAX", pieces_max)
    fold(data, NOON + 2 * DAY_MS, fold_memory=MEMORY)
    (part,) = load_snapshot(data).days[utc_day(NOON)].archive
    assert archived(data) == before
    assert sum_of(counters(data)) == sum_of(counted) == 4000
    with connect(MEMORY, 1) as database:
        path = data.part("archive", utc_day(NOON), part.generation)
        rows = database.execute("SELECT visitor FROM read_parquet($1)", [str(path)]).fetchall()
    runs = [key for key, _ in groupby(rows)]
    assert len(set(runs)) == 10
    assert (len(runs) < 40) == is_ordered  # two threads read the pieces
    assert not list(data.spill.glob("*"))
    assert_verified(data, fold_memory=MEMORY)


def sum_of(rows: list[tuple[object, ...]]) -> int:
    return sum(int(str(row[-2])) for row in rows if row[4] == "total")
