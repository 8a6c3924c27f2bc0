"""P6 and P7: an event counts once, whichever pass folds which copy of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from shared.duckdb_engine import connect
from shared.event_ids import make_event_ids
from shared.generations.load import load_snapshot
from shared.schema import ARCHIVE_COLUMNS
from tests.builders.archive import HOUR_MS, archived, assert_verified
from tests.builders.collisions import IDS_OF_ONE_NUMBER
from tests.builders.logs import NOON, data_directory, fold, line, sealed


def test_first_received_copy_counts_even_when_it_is_folded_later(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1", NOON, NOON + 5000, url="https://example.com/late")], "0")
    fold(data)
    sealed(data, [line("event-1", NOON - 24 * HOUR_MS, NOON, url="https://example.com/early")], "1")
    fold(data)
    assert [row[[*ARCHIVE_COLUMNS].index("path")] for row in archived(data)] == ["/early"]
    totals = load_snapshot(data).totals
    assert (totals.lines, totals.counted, totals.duplicates, totals.conflicts) == (2, 1, 1, 1)
    assert_verified(data)


def test_id_of_the_servers_form_counts_once_whoever_made_it(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    (made,) = make_event_ids(1, NOON)
    (foreign,) = make_event_ids(1, NOON - HOUR_MS)  # its time is not that of the receipt
    for number in range(3):
        sealed(data, [line(made, NOON, NOON), line(foreign, NOON, NOON), line(made, NOON, NOON + number * 1000)])
        fold(data)
    assert load_snapshot(data).totals.counted == 2
    assert_verified(data)


def test_index_has_the_documented_number_of_each_id(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1"), line("event-2", site="example.org")])
    fold(data)
    ((day, kept),) = load_snapshot(data).days.items()
    (part,) = kept.ids
    with connect(128 << 20, 1) as database:
        found = database.execute("FROM read_parquet($1)", [str(data.part("ids", day, part.generation))]).fetchall()
    texts = (b"example.com\x1fevent-1", b"example.org\x1fevent-2")
    numbers = [int.from_bytes(hashlib.md5(text, usedforsecurity=False).digest()[8:], "little") for text in texts]
    assert found == [(number,) for number in sorted(numbers)]


def test_two_ids_of_one_number_are_two_events(tmp_path: Path) -> None:
    """The text decides, whether both are in one pass or one is archived."""
    data = data_directory(tmp_path)
    first, second = IDS_OF_ONE_NUMBER
    for ids in ([first], [second], [first, second]):
        sealed(data, [line(id_) for id_ in ids])
        fold(data)
    totals = load_snapshot(data).totals
    assert (totals.counted, totals.duplicates) == (2, 2)
    assert_verified(data)


def test_equal_lines_count_once(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line(f"event-{number % 200}") for number in range(1000)])
    fold(data)
    assert load_snapshot(data).totals.counted == 200
    assert_verified(data)


SENDERS: dict[str, tuple[list[tuple[int, str | None]], int]] = {
    "a page, then a key": ([(2, None), (2, "key")], 2),
    "a key twice": ([(2, "key"), (2, "key")], 1),
    "a key, a page, an import, each twice": ([(2, "key"), (2, None), (2, "import")] * 2, 3),
    "version 1, then each": ([(1, None), (2, "key"), (2, None)], 1),
    "each, then version 1": ([(2, "key"), (2, None), (1, None)], 2),
}


@pytest.mark.parametrize("passes", ["one pass", "many passes"])
@pytest.mark.parametrize(("lines", "counted"), SENDERS.values(), ids=SENDERS)
def test_id_counts_once_for_each_sender(
    tmp_path: Path, lines: list[tuple[int, str | None]], counted: int, passes: str
) -> None:
    data = data_directory(tmp_path)
    made = [line("event-1", NOON, NOON + at, v=v, sender=sender) for at, (v, sender) in enumerate(lines)]
    for some in [made] if passes == "one pass" else [[each] for each in made]:
        sealed(data, some)
        fold(data)
    assert load_snapshot(data).totals.counted == counted
    assert_verified(data)


@pytest.mark.parametrize("days_later", [0, 1, 2, 3])
def test_retry_within_the_lateness_counts_once(tmp_path: Path, days_later: int) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1", NOON)])
    fold(data)
    later = NOON + days_later * 24 * HOUR_MS
    sealed(data, [line("event-1", later)])
    fold(data, later)
    assert load_snapshot(data).totals.counted == 1


def test_same_id_on_two_sites_counts_twice(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1"), line("event-1", site="example.org")])
    fold(data)
    assert load_snapshot(data).totals.counted == 2


@pytest.mark.long
def test_many_passes_leave_few_parts(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(30):
        sealed(data, [line(f"event-{number:03d}")])
        fold(data)
    (day,) = load_snapshot(data).days.values()
    assert len(day.archive) <= 14
    assert load_snapshot(data).totals.counted == 30
    assert_verified(data)
