"""Restoring and absorbing by a process that is really killed, at one step after the
other: run again, each ends, and each event counts once.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from compactor.repair.verify import verify
from shared.generations.load import load_snapshot
from shared.segments.sealed import sealed_segments
from tests.builders.absorbing import ALL, check, fill, hosts_of, lines, retired
from tests.builders.killed_command import killed_at_each
from tests.builders.logs import NOON, fold_all, sealed
from tests.builders.postgres import Server
from tests.builders.server import environment
from tests.builders.store_hosts import StoreHost, counted_ids

pytestmark = [pytest.mark.component, pytest.mark.crash, pytest.mark.long]
# Every step is tried by the tests that do without processes; these are a sample.
STRIDE = 11


def test_restore(tmp_path: Path, server: Server) -> None:
    host = StoreHost(tmp_path / "host", server.database())
    host.receive(lines(*range(8)))
    host.settle()
    backup = shutil.copytree(host.data.root, tmp_path / "backup")
    host.receive(lines(*range(10, 15)))
    host.settle()
    shutil.rmtree(host.data.root)
    shutil.copytree(backup, host.data.root)
    host.receive(lines(*range(20, 24), 11))
    folded = load_snapshot(host.data)
    for each in sealed_segments(host.data):
        assert folded.has_folded(each.name)
        each.path.unlink()
        each.checksum.unlink()
    sealed(host.data, lines(25, 12, 21))
    assert killed_at_each(["store", "restore"], environment(host.data.root, store=host.settings.store), STRIDE) > 3
    fold_all(host.data, NOON)
    host.settle()
    expected = [*range(8), *range(10, 15), *range(20, 24), 25]
    assert counted_ids(host.settings.store, tmp_path) == {f"event-{n:06}": 1 for n in expected}
    assert verify(host.data, host.settings, lambda _: None).findings == []


def test_absorb(tmp_path: Path, server: Server) -> None:
    store = server.database()
    fill(tmp_path, store)
    gone, host, other = hosts_of(tmp_path, store)
    instance = retired(gone, other)
    environ = environment(host.data.root, store=host.settings.store)
    assert killed_at_each(["store", "absorb", str(instance)], environ, STRIDE) > 3
    check(tmp_path, (host, other), ALL)
