"""What came of a try to publish is noted in `run/`, and nothing is written where that
did not change.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from compactor.claims.claim import IdsClaimedElsewhere
from compactor.process import compact_once
from compactor.publishing.instance import instance_id
from compactor.publishing.note_state import after_failure, after_publish
from compactor.publishing.publish import rebuild_store, take_back
from compactor.publishing.publisher import publish_logged
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot
from shared.settings import Settings
from shared.stores.address import FILE
from shared.stores.condition import store_status
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.open_store import open_store
from shared.stores.state import StoreState, read_state
from tests.builders.logs import data_directory, line, sealed
from tests.builders.silent_log import SilentLog
from tests.builders.stores import store_settings

AT, LATER = "2026-11-22T12:00:00.000Z", "2026-11-22T12:05:00.000Z"
PUBLISHED = StoreState("sqlite:///a.db", 3, "2026-11-22T11:59:00.000Z", AT)
NEXT = Snapshot(generation=4, as_of=LATER)
DOWN = StoreUnavailable("the store", "connection\n refused")
REFUSED = StoreRefused("the store", "holds generation 9")
FAILED = after_failure(PUBLISHED, DOWN, NEXT, LATER)

OUTCOMES: dict[str, tuple[StoreState, StoreState]] = {
    "published": (
        after_publish(StoreState("a"), NEXT, AT),
        StoreState("a", 4, LATER, AT),
    ),
    "held already": (
        after_publish(PUBLISHED, Snapshot(generation=3, as_of=PUBLISHED.as_of), LATER),
        PUBLISHED,
    ),
    "down": (
        FAILED,
        StoreState(
            "sqlite:///a.db",
            3,
            PUBLISHED.as_of,
            AT,
            failures=1,
            failing_since=LATER,
            behind_since=LATER,
            error="the store could not be read or written: connection refused",
        ),
    ),
    "down, and nothing new": (
        after_failure(PUBLISHED, OSError("disk"), Snapshot(generation=3), AT),
        StoreState("sqlite:///a.db", 3, PUBLISHED.as_of, AT, failures=1, failing_since=AT, error="disk"),
    ),
    "back again": (after_publish(FAILED, NEXT, LATER), StoreState("sqlite:///a.db", 4, LATER, LATER)),
}


@pytest.mark.parametrize(("found", "expected"), OUTCOMES.values(), ids=OUTCOMES)
def test_outcome_is_noted(found: StoreState, expected: StoreState) -> None:
    assert found == expected


def test_failures_are_counted_from_the_first() -> None:
    again = after_failure(FAILED, REFUSED, None, "2026-11-22T12:10:00.000Z")
    assert (again.failures, again.failing_since, again.behind_since) == (2, LATER, LATER)
    assert again.is_refused and again.error == "the store holds generation 9"
    assert not after_failure(again, DOWN, None, LATER).is_refused


def test_ids_that_wait_are_no_failure() -> None:
    waits = after_failure(FAILED, IdsClaimedElsewhere(7), None, LATER)
    assert (waits.waiting_ids, waits.failures, waits.error, waits.behind_since) == (7, 0, "", LATER)


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    data = data_directory(tmp_path / "data")
    sealed(data, [line("event-1")])
    return data


def identity(data: DataDirectory) -> tuple[int, int]:
    found = data.store_state.stat()
    return found.st_ino, found.st_mtime_ns


def test_idle_rounds_do_not_touch_the_note(data: DataDirectory) -> None:
    settings = store_settings(data)
    compact_once(data, settings, SilentLog())
    noted = read_state(data, settings)
    assert (noted.generation, noted.as_of) == (1, load_snapshot(data).as_of)
    assert noted.published_at and noted.failures == 0
    before = identity(data)
    for _ in range(3):
        compact_once(data, settings, SilentLog())
    assert identity(data) == before
    assert data.store_state.stat().st_mode & 0o777 == 0o600


def test_without_a_store_nothing_is_noted(data: DataDirectory) -> None:
    settings = Settings(data_dir=data.root)
    assert settings.store == FILE
    compact_once(data, settings, SilentLog())
    assert not data.store_state.exists()
    assert store_status(data, settings, load_snapshot(data)) is None


def test_store_that_cannot_be_opened_is_noted_until_it_can(data: DataDirectory, tmp_path: Path) -> None:
    settings = store_settings(data)
    (tmp_path / "analytics.db").mkdir()
    compact_once(data, settings, SilentLog())
    publish_logged(data, settings, SilentLog())
    noted = read_state(data, settings)
    assert noted.failures == 2 and "unable to open" in noted.error and not noted.is_refused
    assert noted.behind_since == load_snapshot(data).as_of
    (tmp_path / "analytics.db").rmdir()
    assert publish_logged(data, settings, SilentLog())
    assert read_state(data, settings).failures == 0


def other_owner(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE analytics_folded SET instance = 'somebody-else'")


def test_refused_store_is_noted_and_its_rebuild_ends_that(data: DataDirectory, tmp_path: Path) -> None:
    settings = store_settings(data)
    compact_once(data, settings, SilentLog())
    other_owner(tmp_path / "analytics.db")
    assert not publish_logged(data, settings, SilentLog())
    noted = read_state(data, settings)
    assert noted.is_refused and "another data directory" in noted.error
    rebuild_store(data, settings, open_store(settings, instance_id(data)))
    assert not read_state(data, settings).is_refused


def test_store_that_was_emptied_holds_nothing(data: DataDirectory) -> None:
    settings = store_settings(data)
    compact_once(data, settings, SilentLog())
    take_back(data, settings, open_store(settings, instance_id(data)))
    assert read_state(data, settings) == StoreState(settings.store)


def _as_file(data: DataDirectory) -> None:
    data.store_state.write_bytes(b"{")


def _as_directory(data: DataDirectory) -> None:
    data.store_state.unlink(missing_ok=True)
    data.store_state.mkdir()


@pytest.mark.parametrize("damage", [_as_file, _as_directory])
def test_note_that_cannot_be_used_keeps_no_publish(
    data: DataDirectory, damage: Callable[[DataDirectory], None]
) -> None:
    settings = store_settings(data)
    damage(data)
    compact_once(data, settings, SilentLog())
    held = open_store(settings, instance_id(data)).position()
    assert held is not None and held.generation == 1


def test_note_of_another_store_says_nothing_of_this_one(data: DataDirectory, tmp_path: Path) -> None:
    compact_once(data, store_settings(data), SilentLog())
    other = Settings(data_dir=data.root, store=f"sqlite:///{tmp_path / 'b.db'}")
    assert read_state(data, other) == StoreState(other.store)


def test_note_and_status_hold_no_password(data: DataDirectory) -> None:
    settings = Settings(data_dir=data.root, store="postgresql://web:a-secret@127.0.0.1:1/analytics?connect_timeout=1")
    compact_once(data, settings, SilentLog())
    assert read_state(data, settings).failures == 1
    assert b"a-secret" not in data.store_state.read_bytes()
