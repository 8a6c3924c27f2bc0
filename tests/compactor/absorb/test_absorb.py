"""Absorbing: what a retired instance has published is another host's, and whatever is
cut off, each event counts once.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from compactor.absorb.expired_days import DaysDiffer
from compactor.publishing.publish import compare_store, rebuild_store
from compactor.repair.rebuild import rebuild
from compactor.repair.verify import verify
from compactor.retention.command import retain_now
from shared.erasures import create_request
from shared.exit_codes import TemporaryFailure
from shared.generations.load import load_snapshot
from shared.status import read_status
from shared.stores.ledger import StoreRefused
from shared.stores.open_store import open_store
from tests.builders.absorbing import (
    ALL,
    DAY_MS,
    SERVER_IDS,
    absorb_unpublished,
    absorbed,
    check,
    counted,
    hosts_of,
    lines,
    retired,
)
from tests.builders.cut_connection import cutting
from tests.builders.logs import NOON
from tests.builders.postgres import Server
from tests.builders.server import environment, run_foldlog
from tests.builders.silent_log import SilentLog
from tests.builders.store_hosts import StoreHost, counted_ids
from tests.builders.stores import queried

pytestmark = pytest.mark.component


def test_all_of_it_is_the_hosts_and_the_sums_stay(tmp_path: Path, store: str) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    instance, before, lines_of_both = retired(gone, other), counted(store), totals_of(host, gone)
    done = absorbed(host, instance)
    assert (done.events, done.duplicates) == (21, 0)
    assert counted(store) == before
    assert totals_of(host) == lines_of_both
    assert queried(store, f"SELECT instance FROM analytics_folded WHERE instance = '{instance}'") == []
    for table in ("parts", "counters", "visitors", "ids"):
        found = queried(store, f"SELECT count(*) FROM analytics_{table} WHERE instance = '{instance}'")
        assert found == [(0,)], table
    check(tmp_path, (host, other), ALL)
    assert absorbed(host, instance).events == 0  # typed once more
    assert counted(store) == before


def totals_of(*hosts: StoreHost) -> int:
    return sum(load_snapshot(host.data).totals.lines for host in hosts)


@pytest.mark.long
def test_copies_that_come_later_are_duplicates(tmp_path: Path, store: str) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    absorbed(host, retired(gone, other))
    host.receive(lines(1, 13, 50))
    other.receive(lines(2, 11, 51))
    check(tmp_path, (host, other), [*ALL, 50, 51])


@pytest.mark.parametrize(
    ("cut", "commit"),
    [
        ("answer", 3),
        *(pytest.param("answer", n, marks=pytest.mark.long) for n in (2, 5)),
        *(pytest.param("answer", n, marks=[pytest.mark.long, pytest.mark.whole]) for n in (1, 4, 6)),
        pytest.param("request", 3, marks=pytest.mark.long),
    ],
)
def test_a_commit_whose_answer_is_lost(tmp_path: Path, store: str, cut: Any, commit: int) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    instance, before = retired(gone, other), counted(store)
    with cutting(store) as connection:
        connection.next_at("COMMIT", cut, commit)
        try:
            absorbed(host, instance, connection.address)
        except TemporaryFailure:
            assert counted(store) == before
    assert counted(store) == before
    host.receive(lines(60))  # the next pass, and what it publishes
    host.settle()
    if queried(store, f"SELECT 1 FROM analytics_folded WHERE instance = '{instance}'"):
        absorbed(host, instance)
    check(tmp_path, (host, other), [*ALL, 60])


def test_killed_before_it_is_published(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever publishes next ends it."""
    gone, host, other = hosts_of(tmp_path, store)
    instance, before = retired(gone, other), counted(store)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("compactor.absorb.absorb._commit", killed)
        absorbed(host, instance)
    assert counted(store) == before
    absorb_unpublished(host, instance)
    assert counted(store) == before
    host.receive(lines(60, 5))
    with pytest.raises(StoreRefused, match="lets another host absorb"):
        absorbed(other, instance)
    host.settle()
    assert queried(store, f"SELECT 1 FROM analytics_folded WHERE instance = '{instance}'") == []
    check(tmp_path, (host, other), [*ALL, 60])


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.long  # in short: test_erased.py
def test_an_erasure_reaches_it(tmp_path: Path, store: str) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    absorbed(host, retired(gone, other))
    create_request(host.data, "by-server", None)
    host.erase()
    host.settle()
    assert not set(SERVER_IDS) & set(counted_ids(store, tmp_path))
    assert verify(host.data, host.settings, lambda _: None).findings == []


@pytest.mark.long
def test_an_emptied_database_is_filled_with_all(tmp_path: Path, store: str, server: Server) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    absorbed(host, retired(gone, other))
    check(tmp_path, (host, other), ALL)
    before, empty = counted(store), server.database()
    again = [StoreHost(each.data.root, empty) for each in (host, other)]
    check(tmp_path, again, ALL)
    assert [row[:-1] for row in counted(empty)] == [row[:-1] for row in before]


@pytest.mark.long
def test_rebuilds_change_nothing(tmp_path: Path, store: str) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    absorbed(host, retired(gone, other))
    check(tmp_path, (host, other), ALL)
    before = counted(store)
    rebuild(host.data, host.settings, SilentLog(), NOON, dry_run=False)
    rebuild_store(host.data, host.settings, open_store(host.settings, host.instance))
    check(tmp_path, (host, other), ALL)
    assert counted(store) == before


def test_what_cannot_be_absorbed_is_refused(tmp_path: Path, store: str) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    with pytest.raises(StoreRefused, match=f"foldlog store retire {gone.instance}"):
        absorbed(host, UUID(gone.instance))
    with pytest.raises(StoreRefused, match="foldlog store status"):
        absorbed(host, uuid4())
    with pytest.raises(StoreRefused, match="as this directory"):
        absorbed(host, UUID(host.instance))
    berlin = StoreHost(tmp_path / "berlin", store, timezone="Europe/Berlin")
    berlin.receive(lines(70))
    berlin.settle()
    with pytest.raises(StoreRefused, match="FOLDLOG_TIMEZONE"):
        absorbed(host, retired(berlin, other))


@pytest.mark.long
def test_the_command_says_what_it_did(tmp_path: Path, store: str) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    instance = retired(gone, other)
    shutil.rmtree(gone.data.root)
    done = run_foldlog(["store", "absorb", str(instance)], environment(host.data.root, store=store))
    assert done.returncode == 0, done.stderr
    assert "21 events" in done.stdout
    (shown,) = read_status(host.data, host.settings).absorbed
    assert (shown.instance, shown.events) == (str(instance), 21)
    checked = run_foldlog(["verify"], environment(host.data.root, store=store))
    assert "of which retired hosts had counted 21" in " ".join(checked.stdout.split())
    check(tmp_path, (host, other), ALL)


def with_old_days(host: StoreHost, first: int, *, days: int = 9, **more: Any) -> None:
    """Events of every other day, so that no clock jumps; more on the first."""
    for day in (*range(-days, 0, 2), 0):
        some = lines(first + day + days, day=day)
        if day == -days:
            some += lines(first + 50, first + 51, day=day, **more)
        host.receive(some, NOON + day * DAY_MS)


def expire(host: StoreHost) -> StoreHost:
    kept_for_a_week = StoreHost(host.data.root, host.settings.store, archive_retention_days=7)
    retain_now(host.data, kept_for_a_week.settings, SilentLog(), lambda: NOON, confirmed=True)
    assert any(kept.expired for kept in load_snapshot(host.data).days.values())
    return kept_for_a_week


@pytest.mark.long
@pytest.mark.parametrize(
    ("gone_expires", "host_expires"),
    [(True, True), *(pytest.param(*each, marks=pytest.mark.long) for each in ((False, True), (True, False)))],
)
def test_days_whose_archive_is_deleted_add_up(
    tmp_path: Path, server: Server, gone_expires: bool, host_expires: bool
) -> None:
    store = server.database()
    gone, host, other = (StoreHost(tmp_path / name, store) for name in ("gone", "host", "other"))
    with_old_days(gone, 100, url="https://example.com/a")
    with_old_days(host, 300)
    for each, expires in ((gone, gone_expires), (host, host_expires)):
        each.settle()
        if expires:
            expire(each).settle()
    other.settle()
    instance, events = retired(gone, other), events_by_day(store)
    if not host_expires:
        before = load_snapshot(host.data)
        with pytest.raises(DaysDiffer, match="let retention delete it here"):
            absorbed(host, instance)
        assert load_snapshot(host.data) == before
        return
    absorbed(host, instance)
    assert events_by_day(store) == events
    first = "SELECT count(*) FILTER (WHERE expired IS NULL) FROM analytics_visitors WHERE day = '2026-11-13'"
    assert queried(store, first) == [(1,)]  # unknown: two hosts had some
    assert verify(host.data, host.settings, lambda _: None).findings == []
    found: list[str] = []
    compare_store(host.data, host.settings, open_store(host.settings, host.instance), found.append)
    assert found == []


def events_by_day(store: str) -> list[tuple[Any, ...]]:
    sums = "SELECT day, dimension, event, value, sum(events) FROM analytics_counters"
    return queried(store, f"{sums} GROUP BY day, dimension, event, value ORDER BY 1, 2, 3, 4")
