"""The doctor asks each server of a ClickHouse store."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from foldlog.doctor.cluster_findings import shard
from foldlog.doctor.cluster_probe import Disk, ShardState, states_of
from foldlog.doctor.examine import examine
from foldlog.doctor.finding import Finding
from shared.settings import Settings
from shared.stores.clickhouse.cluster import parse_cluster
from tests.builders.clickhouse_kinds import KINDS, running
from tests.builders.logs import data_directory, fold_all, line, sealed
from tests.builders.stores import publish

GIB = 1 << 30
WELL = ShardState("ch1", (25, 8, 1), 0.5, "202611", 7, (Disk("default", 60 * GIB, 100 * GIB),), 2)
CASES: dict[str, tuple[ShardState | str, str, str]] = {
    "well": (WELL, "ok", "ClickHouse 25.8.1, 7 parts in 202611, 60.0 GiB free on default"),
    "empty": (WELL._replace(parts=0, month="", disks=()), "ok", "ClickHouse 25.8.1, no events yet"),
    "one shard": (WELL._replace(shards=None), "ok", "7 parts"),
    "old": (WELL._replace(version=(23, 8, 2)), "warning", "version 23.8.2: it takes events, and reports refuse it"),
    "ahead": (WELL._replace(ahead_s=7200.0), "warning", "2 h ahead of that of this host"),
    "behind": (WELL._replace(ahead_s=-90.0), "warning", "90 s behind that of this host"),
    "many parts": (WELL._replace(parts=240), "warning", "240 parts of 202611"),
    "full": (WELL._replace(disks=(Disk("d", 9 * GIB, 100 * GIB),)), "warning", "9.0 GiB of 100.0 GiB are free"),
    "other shards": (WELL._replace(shards=3), "wrong", "knows 3 shards, and FOLDLOG_STORE names 2"),
    "down": ("ch1 could not be read", "warning", "ch1 could not be read"),
}


@pytest.mark.parametrize("name", CASES)
def test_finding_of_a_shard(name: str) -> None:
    state, level, found = CASES[name]
    (finding,) = shard(state, 2)
    assert (finding.level, found in finding.found, bool(finding.do)) == (level, True, level != "ok")


def findings(directory: Path, address: str) -> list[Finding]:
    data = data_directory(directory)
    return [each for each in examine(data, Settings(data_dir=data.root, store=address)) if each.check == "cluster"]


def test_server_that_is_not_there_is_reported_without_its_secrets(tmp_path: Path) -> None:
    (found,) = findings(tmp_path / "data", "clickhouse://me:hidden@127.0.0.1:1/analytics")
    assert (found.level, "127.0.0.1:1" in found.found, "hidden" in repr(found)) == ("warning", True, False)


@pytest.mark.component
@pytest.mark.parametrize("kind", KINDS)
def test_servers_are_asked(tmp_path: Path, kind: str) -> None:
    data = data_directory(tmp_path / "data")
    sealed(data, [line("event-1")])
    fold_all(data)
    with running(kind) as servers:
        address = servers.database()
        publish(data, store=address)
        cluster, found = parse_cluster(address), findings(tmp_path / "data", address)
        states = states_of(cluster, lambda: time.time() - 600)
    about_version = [each.level for each in found if "reports refuse it" in each.found]
    assert about_version == ([] if kind == "today" else ["warning"] * 2)
    assert len(found) == len(cluster.shards) or any("are free" in each.found for each in found)
    known = [state for state in states if isinstance(state, ShardState)]
    assert len(known) == len(cluster.shards)
    assert sum(state.parts for state in known) == 1
    assert all(590 < state.ahead_s < 620 for state in known)
    assert all(state.shards == (None if kind == "today" else 2) for state in known)
    assert all(bool(state.disks) == (kind == "today") for state in known)
