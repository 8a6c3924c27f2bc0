"""Restore: a directory that stands behind the store is filled again from it, and what
only the directory has counts once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from compactor.lock import compactor_lock
from compactor.publishing.publish import compare_store, retire_instance
from compactor.repair.directory_check import check_directory
from compactor.repair.verify import verify
from compactor.retention.command import retain_now
from compactor.takeover.restore import Restored, restore
from ingest.collect.encode import Line
from shared.generations.load import load_snapshot
from shared.segments.sealed import sealed_segments
from shared.stores.instance import RestoreUnfinished, check_instance
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.open_store import open_store
from shared.timestamps import utc_day
from tests.builders.archive import HOUR_MS
from tests.builders.logs import NOON, fold_all, line, sealed
from tests.builders.postgres import Server
from tests.builders.server import environment, run_foldlog
from tests.builders.silent_log import SilentLog
from tests.builders.store_hosts import StoreHost, copies_of, counted_ids, totals

pytestmark = pytest.mark.component
DAY_MS = 24 * HOUR_MS


class Killed(BaseException):
    """The process ended here."""


@pytest.fixture
def store(server: Server) -> str:
    return server.database()


def lines(*numbers: int, day: int = 0, **fields: Any) -> list[Line]:
    return [line(f"event-{n:06}", NOON + day * DAY_MS, visitor=f"v{n % 7}", **fields) for n in numbers]


def rich(*numbers: int) -> list[Line]:
    """Events with whatever a line may have."""
    page = "https://example.com/a?utm_source=x#y"
    more: dict[str, Any] = {
        "url": page,
        "referrer": "https://search.test/q",
        "props": {"a": 1.5, "b": "ü\u0085"},
        "value": 0.1,
    }
    return [*lines(*numbers, sender="key", session="s", daily=True, **more), *lines(*(n + 1000 for n in numbers), v=1)]


def copy_of(host: StoreHost, to: Path) -> Path:
    shutil.copytree(host.data.root, to)
    return to


def put_back(host: StoreHost, backup: Path) -> None:
    shutil.rmtree(host.data.root)
    shutil.copytree(backup, host.data.root)


def forget_log(host: StoreHost) -> None:
    """Retention deletes what is folded."""
    snapshot = load_snapshot(host.data)
    for each in sealed_segments(host.data):
        if snapshot.has_folded(each.name):
            each.path.unlink()
            each.checksum.unlink()


def restored(host: StoreHost) -> Restored:
    with compactor_lock(host.data) as lock:
        done = restore(host.data, host.settings, SilentLog(), lock, NOON)
        check_directory(host.data, SilentLog(), lock)
    return done


@pytest.fixture(scope="module")
def filled(server: Server, tmp_path_factory: pytest.TempPathFactory) -> StoreHost:
    """A host on its backup: 0 to 9 in both, 10 to 19 in the store alone, 20 to 29 in
    the directory alone, of which 20 to 24 are folded and not in the log any more.
    """
    root = tmp_path_factory.mktemp("filled")
    host = StoreHost(root / "host", server.database())
    host.receive([*lines(*range(8)), *lines(8, 9, day=-2)])
    host.settle()
    backup = copy_of(host, root / "backup")
    host.receive(lines(*range(10, 15)))
    host.receive(lines(*range(15, 20), day=-2))
    host.settle()
    put_back(host, backup)
    host.receive(lines(*range(20, 23), 12))
    host.receive([*lines(3), *lines(23, 24, 16, day=-2)])
    with pytest.raises(StoreRefused, match="foldlog store restore"):
        host.publish()
    forget_log(host)
    sealed(host.data, lines(*range(25, 30), 1, 11, 21))
    return host


@pytest.fixture
def diverged(server: Server, filled: StoreHost, tmp_path: Path) -> StoreHost:
    """A copy of it and of its store."""
    (host,) = copies_of([filled], server, tmp_path)
    return host


def check(host: StoreHost, tmp_path: Path, numbers: Iterable[int]) -> None:
    """Once folded and published, each event counts once."""
    fold_all(host.data, NOON)
    host.settle()
    expected = {f"event-{n:06}" for n in numbers}
    assert counted_ids(host.settings.store, tmp_path) == dict.fromkeys(expected, 1)
    assert verify(host.data, host.settings, lambda _: None).findings == []
    found: list[str] = []
    compare_store(host.data, host.settings, open_store(host.settings, host.instance), found.append)
    assert found == []


def test_what_only_the_directory_has_counts_once(tmp_path: Path, diverged: StoreHost) -> None:
    host, other = diverged, StoreHost(tmp_path / "other", diverged.settings.store)
    other.receive(lines(20, 11, 40))
    other.settle()
    instance = host.instance
    done = restored(host)
    assert (done.lines, done.segments, host.instance) == (5, 1, instance)
    assert totals(host)[0] == 20
    check(host, tmp_path, [*range(30), 40])
    assert totals(host)[0] == 29  # 20 is the other host's
    host.receive(lines(*range(30, 33), 24, 2))
    check(host, tmp_path, [*range(33), 40])


def test_every_field_of_an_event_comes_through(tmp_path: Path, store: str) -> None:
    host, plain = StoreHost(tmp_path / "host", store), StoreHost(tmp_path / "plain", store)
    host.receive(lines(1))
    host.settle()
    backup = copy_of(host, tmp_path / "backup")
    host.receive(lines(2))
    host.settle()
    put_back(host, backup)
    for each in (host, plain):
        each.receive(rich(*range(3, 8)))
    forget_log(host)
    assert restored(host).lines == 10
    fold_all(host.data, NOON)
    assert [row for row in rows(host) if row[0] not in {"event-000001", "event-000002"}] == rows(plain)


def rows(host: StoreHost) -> list[tuple[Any, ...]]:
    import duckdb

    from compactor.generations.archive import archived_events

    snapshot = load_snapshot(host.data)
    with duckdb.connect() as database:
        return sorted(
            database.execute(f"FROM {archived_events(host.data, snapshot, [*snapshot.days])}").fetchall(), key=str
        )


@pytest.mark.long
def test_killed_at_each_step_it_ends_when_run_again(
    tmp_path: Path, diverged: StoreHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = diverged
    kills = 0
    while True:
        with monkeypatch.context() as patch:
            die_at(patch, kills + 1)
            with suppress(Killed):
                restored(host)
                break
        kills += 1
    assert kills > 20
    check(host, tmp_path, range(30))
    assert not host.data.restoring.root.exists()
    assert not host.data.restore_plan.exists()


def die_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """End at the rename or removal of a file with this number."""
    left = step

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, *given: Any, **named: Any) -> Any:
            nonlocal left
            if path.suffix != ".tmp" or original.__name__ == "rename":
                left -= 1
                if left == 0:
                    raise Killed
            return original(path, *given, **named)

        return call

    patch.setattr(Path, "rename", dying(Path.rename))
    patch.setattr(Path, "unlink", dying(Path.unlink))


def test_nothing_else_runs_while_it_has_not_ended(
    tmp_path: Path, diverged: StoreHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = diverged
    with monkeypatch.context() as patch:
        patch.setattr("compactor.takeover.restore.publish_snapshot", fail)
        with pytest.raises(Killed):
            restored(host)
    with pytest.raises(RestoreUnfinished, match="foldlog store restore"):
        check_instance(host.data, None)
    restored(host)
    check_instance(host.data, None)
    check(host, tmp_path, range(30))


def fail(*_: object) -> None:
    raise Killed


def test_the_host_that_the_directory_was_copied_from_publishes_no_more(tmp_path: Path, store: str) -> None:
    old = StoreHost(tmp_path / "old", store)
    old.receive(lines(1, 2))
    old.settle()
    copy = StoreHost(copy_of(old, tmp_path / "copy"), store)
    old.receive(lines(3))
    old.settle()
    copy.receive(lines(4))
    restored(copy)
    old.receive(lines(5))
    with pytest.raises((StoreRefused, StoreUnavailable)):
        old.publish()
    check(copy, tmp_path, range(1, 5))


def test_lost_parts_come_back(tmp_path: Path, store: str) -> None:
    host = StoreHost(tmp_path / "host", store)
    host.receive(lines(*range(5)))
    host.settle()
    host.receive(lines(5, 6))
    shutil.rmtree(host.data.archive / "2026-11-22")
    with pytest.raises(Exception, match="foldlog rebuild"):
        restored(host)  # what is not published was in a part that is lost: the log has it
    host.data.snapshot.unlink()
    for each in host.data.root.glob("snapshot.*.json"):
        each.unlink()
    for folder in host.data.part_folders:
        shutil.rmtree(folder)
        folder.mkdir()
    restored(host)
    check(host, tmp_path, range(7))


def test_what_cannot_be_told_is_refused(tmp_path: Path, store: str) -> None:
    host, other = StoreHost(tmp_path / "host", store), StoreHost(tmp_path / "other", store)
    other.settle()
    with pytest.raises(StoreRefused, match="never published"):
        restored(host)
    host.receive(lines(1))
    host.settle()
    backup = copy_of(host, tmp_path / "backup")
    host.receive(lines(2))
    host.settle()
    put_back(host, backup)
    retire_instance(other.data, other.settings, open_store(other.settings, other.instance), UUID(host.instance))
    before = load_snapshot(host.data)
    with pytest.raises(StoreRefused, match="has retired this instance"):
        restored(host)
    assert load_snapshot(host.data) == before


def test_a_day_whose_archive_is_deleted_is_refused(tmp_path: Path, store: str) -> None:
    """No file says which of its ids count."""
    host = StoreHost(tmp_path / "host", store, archive_retention_days=7)
    for day in (*range(-9, 0, 2), 0):  # a clock that jumps deletes nothing
        host.receive(lines(-day, day=day), NOON + day * DAY_MS)
    host.settle()
    backup = copy_of(host, tmp_path / "backup")
    retain_now(host.data, host.settings, SilentLog(), lambda: NOON, confirmed=True)
    assert any(kept.expired for kept in load_snapshot(host.data).days.values())
    host.settle()
    put_back(host, backup)
    assert restored(StoreHost(copy_of(host, tmp_path / "copy"), store)).lines == 0
    sealed(host.data, lines(20, day=-9))
    with pytest.raises(StoreRefused, match=r"has no archive of 2026-11-13 any more.*foldlog store takeover"):
        restored(host)


@pytest.mark.long
def test_a_day_whose_archive_is_deleted_here_is_refused(tmp_path: Path, store: str) -> None:
    """Events of it that were folded since the backup are in no file any more."""
    host = StoreHost(tmp_path / "host", store, archive_retention_days=7)
    for day in range(-9, 1):
        host.receive(lines(-day, day=day), NOON + day * DAY_MS)
    host.settle()
    backup = copy_of(host, tmp_path / "backup")
    host.receive(lines(20))
    host.settle()
    put_back(host, backup)
    same = StoreHost(copy_of(host, tmp_path / "copy"), store, archive_retention_days=7)
    host.receive(lines(21, day=-9))
    now = NOON + 8 * DAY_MS + HOUR_MS
    for each in (same, host):
        for day in range(1, 9):
            each.receive(lines(100 + day, day=day), NOON + day * DAY_MS)
        retain_now(each.data, each.settings, SilentLog(), lambda: now, confirmed=True)
        forget_log(each)
    with pytest.raises(StoreRefused, match=r"otherwise than this directory.*foldlog store takeover"):
        restored(host)
    restored(same)
    assert not load_snapshot(same.data).days[utc_day(NOON - 9 * DAY_MS)].expired


def test_the_command_says_what_it_did(tmp_path: Path, diverged: StoreHost) -> None:
    host, store = diverged, diverged.settings.store
    environ = environment(host.data.root, store=store, instance=host.instance)
    done = run_foldlog(["store", "restore"], environ)
    assert done.returncode == 0, done.stderr
    assert "5 events and 1 segments of its log" in done.stdout
    assert "stop it" in done.stdout
    check(host, tmp_path, range(30))
    empty = environment(tmp_path / "empty", store=store, instance=host.instance)
    assert "continues the instance" in run_foldlog(["store", "restore"], empty).stdout
