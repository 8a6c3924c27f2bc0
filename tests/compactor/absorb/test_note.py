"""A snapshot that is lost while an instance is absorbed: its events count once, also
those that a rebuild finds in parts.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from compactor.absorb.expired_days import DaysDiffer
from compactor.lock import compactor_lock
from compactor.repair.rebuild import rebuild
from compactor.takeover.restore import restore
from shared.generations.load import load_snapshot
from shared.stores.ledger import StoreRefused
from tests.builders.absorbing import ALL, absorbed, check, hosts_of, lines, retired
from tests.builders.logs import NOON
from tests.builders.silent_log import SilentLog
from tests.builders.store_hosts import StoreHost

pytestmark = pytest.mark.component


def dies(*_: Any) -> None:
    raise KeyboardInterrupt


def dying_after(calls: int, original: Any) -> Any:
    """The function, which dies instead of its last call."""
    left = calls

    def call(*given: Any) -> Any:
        nonlocal left
        left -= 1
        return original(*given) if left >= 0 else dies()

    return call


def cut_off(patch: pytest.MonkeyPatch, where: str, calls: int) -> None:
    from compactor.absorb import absorb

    patch.setattr(absorb, where, dying_after(calls, getattr(absorb, where)))


def lose_snapshots(host: StoreHost) -> None:
    for path in host.data.root.glob("snapshot*.json"):
        path.write_bytes(path.read_bytes()[:-10])


def rebuilt(host: StoreHost) -> None:
    rebuild(host.data, host.settings, SilentLog(), NOON, dry_run=False)


@pytest.mark.parametrize(
    ("where", "calls"),
    [
        ("publish_settled", 1),
        pytest.param("merge_open_day", 1, marks=pytest.mark.long),
        pytest.param("commit", 0, marks=pytest.mark.long),
    ],
)
def test_a_snapshot_lost_before_it_is_published(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch, where: str, calls: int
) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    instance = retired(gone, other)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        cut_off(patch, where, calls)
        absorbed(host, instance)
    lose_snapshots(host)
    rebuilt(host)
    host.receive(lines(60))
    with pytest.raises(StoreRefused, match=f"foldlog store absorb {instance}"):
        host.publish()
    absorbed(host, instance)
    check(tmp_path, (host, other), [*ALL, 60])


@pytest.mark.long
def test_a_part_damaged_beside_what_a_killed_absorb_left(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    instance = retired(gone, other)
    day, kept = max(load_snapshot(host.data).days.items())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        cut_off(patch, "commit", 0)
        absorbed(host, instance)
    path = host.data.part("archive", day, kept.archive[0].generation)
    path.write_bytes(path.read_bytes()[:-9])
    rebuilt(host)
    with pytest.raises(StoreRefused, match=f"foldlog store absorb {instance}"):
        host.publish()
    absorbed(host, instance)
    check(tmp_path, (host, other), ALL)


@pytest.mark.long
def test_one_that_was_published_needs_nothing(tmp_path: Path, store: str) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    absorbed(host, retired(gone, other))
    lose_snapshots(host)
    rebuilt(host)
    check(tmp_path, (host, other), ALL)


@pytest.mark.long
def test_days_without_an_archive_are_refused(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    instance = retired(gone, other)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        cut_off(patch, "publish_settled", 1)
        absorbed(host, instance)
    lose_snapshots(host)
    day = max(load_days(host))
    for path in (host.data.archive / str(day)).iterdir():
        path.unlink()
    for path in (host.data.log).iterdir():
        path.unlink()
    rebuilt(host)
    with pytest.raises(DaysDiffer, match="foldlog store takeover"):
        absorbed(host, instance)


def load_days(host: StoreHost) -> list[str]:
    return [path.name for path in host.data.archive.iterdir()]


@pytest.mark.long
def test_a_restore_over_what_is_not_published_is_refused(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the directory, from before, has published meanwhile."""
    gone, host, other = hosts_of(tmp_path, store)
    instance = retired(gone, other)
    copy = StoreHost(shutil.copytree(host.data.root, tmp_path / "copy"), store)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        cut_off(patch, "publish_settled", 1)
        absorbed(host, instance)
    copy.receive(lines(60))
    copy.settle()
    with compactor_lock(host.data) as lock, pytest.raises(StoreRefused, match=f"has absorbed of {instance}"):
        restore(host.data, host.settings, SilentLog(), lock, NOON)
    absorbed(copy, instance)
    check(tmp_path, (copy, other), [*ALL, 60])
