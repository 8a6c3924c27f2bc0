"""`foldlog doctor` finds what would go wrong, says what to type, and changes
nothing.
"""

from __future__ import annotations

import errno
import json
import math
import os
import pty
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foldlog.database_url import IgnoredUrl
from foldlog.doctor import data_findings, data_probe, host_findings, host_probe, service_findings, store_findings
from foldlog.doctor.data_findings import PartFiles, Permissions
from foldlog.doctor.examine import examine
from foldlog.doctor.file_systems import Mount
from foldlog.doctor.finding import Finding
from foldlog.processes import Running
from shared.disk.layout import ConfirmedHold, DataDirectory, SegmentName
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Day, FailedMerge, RetentionHold, SetAside, Snapshot
from shared.generations.summary import SiteSummary, Summary
from shared.holds import confirm_hold
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.settings import load as load_settings
from shared.stores.condition import StoreStatus
from shared.timestamps import DAY_S, now_ms
from shared.undeclared_proxy import WARNING
from tests.builders.command import run_here
from tests.builders.disks import tree
from tests.builders.history import history
from tests.builders.logs import data_directory, fold, line, sealed
from tests.builders.server import Server, environment

NOBODY = 65534
ROOT = Path("/var/lib/foldlog")
GIB = 1 << 30


def mount(type_: str = "ext4", *options: str) -> Mount:
    return Mount("/var/lib", type_, "/dev/sdb1", frozenset(options or ("rw", "relatime")))


# What the doctor is given, how it is, and words of what it says and of what it says to
# do.
HOST: dict[str, tuple[Finding, str, str, str]] = {
    "ext4": (host_findings.file_system(ROOT, mount()), "ok", "ext4, mounted at /var/lib", ""),
    "no proc": (host_findings.file_system(ROOT, None), "unknown", "unknown", ""),
    "nfs": (
        host_findings.file_system(ROOT, mount("nfs4")),
        "wrong",
        "network file system (nfs4",
        "set FOLDLOG_DATA_DIR",
    ),
    "fuse": (
        host_findings.file_system(ROOT, mount("fuse.unheardof")),
        "wrong",
        "is unknown",
        "set FOLDLOG_DATA_DIR",
    ),
    "ro": (host_findings.file_system(ROOT, mount("ext4", "ro")), "wrong", "read-only", "mount -o remount,rw /var/lib"),
    "overlay": (
        host_findings.file_system(ROOT, mount("overlay")),
        "warning",
        "layer of this container",
        "mount a volume at /var",
    ),
    "tmpfs": (host_findings.file_system(ROOT, mount("tmpfs")), "warning", "in memory", "set FOLDLOG_DATA_DIR"),
    "nobarrier": (
        host_findings.file_system(ROOT, mount("xfs", "rw", "nobarrier")),
        "warning",
        "nobarrier",
        "/etc/fstab",
    ),
    "writeback": (
        host_findings.file_system(ROOT, mount("ext4", "data=writeback")),
        "warning",
        "data=writeback",
        "/etc/fstab",
    ),
    "files": (host_findings.open_files(8320, "here", Settings()), "ok", "8,320 here", ""),
    "any files": (host_findings.open_files(math.inf, "here", Settings()), "ok", "no limit", ""),
    "few files": (
        host_findings.open_files(1024, "here", Settings()),
        "warning",
        "accepts 896 connections",
        "LimitNOFILE=8320",
    ),
    "no dumps": (host_findings.core_dumps("core", 0, "here"), "ok", "none here", ""),
    "dumps": (
        host_findings.core_dumps("/var/core.%p", math.inf, "here"),
        "warning",
        "kept as /var/core.%p",
        "LimitCORE=0",
    ),
    "few dumps": (host_findings.core_dumps("core", 1 << 20, "here"), "warning", "limit 1.0 MiB here", "ulimit -c 0"),
    "dumps in a pipe": (
        host_findings.core_dumps("|/lib/systemd/systemd-coredump %P %u", 0, "here"),
        "warning",
        "to /lib/systemd/systemd-coredump, whatever",
        "Storage=none",
    ),
    "no size": (host_findings.file_size(math.inf, "here", Settings()), "ok", "no limit", ""),
    "some size": (host_findings.file_size(GIB, "here", Settings()), "warning", "1.0 GiB", "LimitFSIZE=infinity"),
    "small size": (host_findings.file_size(1 << 20, "here", Settings()), "wrong", "1.0 MiB", "LimitFSIZE=infinity"),
    "inodes": (host_findings.inodes(10**6, 10**7), "ok", "1,000,000 of 10,000,000", ""),
    "btrfs": (host_findings.inodes(0, 0), "ok", "as needed", ""),
    "few inodes": (host_findings.inodes(9_999, 10**7), "warning", "9,999", "df -i"),
    "hardly inodes": (host_findings.inodes(999, 10**7), "wrong", "999", "df -i"),
    "memory": (
        host_findings.memory(2 * GIB, Settings()),
        "ok",
        "the worker may use 812.0 MiB at once, 2.0 GiB available",
        "",
    ),
    "little": (
        host_findings.memory(GIB // 2, Settings(workers=4)),
        "warning",
        "each of 4 workers",
        "FOLDLOG_FOLD_MEMORY",
    ),
    "unknown memory": (host_findings.memory(None, Settings()), "unknown", "is unknown", ""),
    "cores": (host_findings.cores(4, Settings(workers=4)), "ok", "4 workers, 4 cores", ""),
    "few cores": (host_findings.cores(2, Settings(workers=3)), "warning", "3 workers, 2 cores", "FOLDLOG_WORKERS=2"),
    "space": (host_findings.space(100 * GIB, 200 * GIB, Settings(), None), "ok", "100.0 GiB of 200.0 GiB free", ""),
    "full": (host_findings.space(100 << 20, 200 * GIB, Settings(), None), "wrong", "rejected with 507", "make room"),
    "lasts": (
        host_findings.space(101 * GIB, 200 * GIB, Settings(), GIB),
        "ok",
        "at 1.0 GiB a day it lasts 100 days",
        "",
    ),
    "for ever": (host_findings.space(101 * GIB, 200 * GIB, Settings(), 9e3), "ok", "more than ten years", ""),
    "days": (
        host_findings.space(5 * GIB, 200 * GIB, Settings(), GIB),
        "warning",
        "it lasts 4 days",
        "FOLDLOG_LOG_RETENTION_DAYS",
    ),
    "small disk": (
        host_findings.space(GIB - 1, GIB - 1, Settings(), None),
        "warning",
        "never be used",
        "FOLDLOG_DISK_RESERVE",
    ),
    "pace": (host_findings.pace(100 * GIB, Settings(), 20 * GIB), "ok", "20.0 GiB a day", ""),
    "silent log": (host_findings.pace(GIB, Settings(), 0.0), "ok", "a day", ""),
    "flood": (
        host_findings.pace(10 * GIB, Settings(disk_reserve=0), 20 * GIB),
        "warning",
        "in 12.0 hours the disk is full",
        "A flood of bots",
    ),
    "flood beyond the reserve": (
        host_findings.pace(GIB, Settings(disk_reserve=2 * GIB), 20 * GIB),
        "warning",
        "in 0.0 hours",
        "FOLDLOG_RATE_LIMIT_BYTES",
    ),
    "no growth": (host_findings.space(100 * GIB, 200 * GIB, Settings(), 0.0), "ok", "512.0 MiB", ""),
    "synchronised": (host_findings.synchronised(True), "ok", "synchronised", ""),
    "unsynchronised": (host_findings.synchronised(False), "warning", "nothing synchronises", "timedatectl"),
    "not told": (host_findings.synchronised(None), "unknown", "does not report it", ""),
    "clock": (host_findings.clock(1e9, 1e9 + 59, "the snapshot", None), "ok", "not behind", ""),
    "clock behind": (
        host_findings.clock(1e9, 1e9 + 7200, "the snapshot", None),
        "wrong",
        "2 h behind the snapshot",
        "timedatectl",
    ),
    "clock in doubt": (
        host_findings.clock(1e9, 1e9, "", "2026-11-22T00:00Z"),
        "warning",
        "since 2026-11-22",
        "by itself",
    ),
    "first clock": (host_findings.clock(1e9, None, "", None), "ok", "no file yet", ""),
}


def permissions(**changes: Any) -> Permissions:
    given: dict[str, Any] = {"owner": "foldlog", "mode": 0o750, "private_mode": 0o700, "loose": [], "foreign": []}
    return Permissions(**(given | {"foreign_owner": "root"} | changes))


def summary_of(*sites: str) -> Summary:
    listed = tuple(SiteSummary(site, (1,), (None,)) for site in sites)
    return Summary("UTC", (date(2026, 11, 22),), (len(sites),), (None,), listed, (0,))


def store(*, newest: int = 4, **changes: Any) -> Finding:
    """What is said of a store that holds generation 3."""
    found = StoreStatus("sqlite:///a.db", 3, None, None, 0.0, 0, None, False, 0, None)
    return store_findings.store(msgspec.structs.replace(found, **changes), newest, Settings())


LATE, ON_TIME = 181.0, 60.0
WELL = Running(4711, {"0": True, "1": True})
NOTHING = Running(None, {})
PROXIED = Settings(listen=("0.0.0.0", 8080), trusted_proxies=(ip_network("10.0.0.0/8"),))  # noqa: S104
HOLD = RetentionHold(12, 14, 4711, date(2026, 11, 6), date(2026, 11, 17))

DATA: dict[str, tuple[Finding, str, str, str]] = {
    "directory": (data_findings.data_directory(ROOT, permissions()), "ok", "mode 750, owner foldlog", ""),
    "readable": (
        data_findings.data_directory(ROOT, permissions(mode=0o755)),
        "warning",
        "may read it",
        "chmod 750 /var/lib/foldlog",
    ),
    "group": (
        data_findings.data_directory(ROOT, permissions(mode=0o770)),
        "warning",
        "its group may write",
        "chmod 750 /var",
    ),
    "writable": (
        data_findings.data_directory(ROOT, permissions(mode=0o777)),
        "wrong",
        "every user may write",
        "chmod 750 /var",
    ),
    "private": (data_findings.private(ROOT / "private", permissions()), "ok", "only its owner", ""),
    "no private": (data_findings.private(ROOT, permissions(private_mode=None)), "ok", "none yet", ""),
    "open private": (
        data_findings.private(ROOT, permissions(private_mode=0o750)),
        "wrong",
        "mode 750",
        "chmod 700 /var",
    ),
    "loose": (
        data_findings.private(ROOT, permissions(loose=[ROOT / "a", ROOT])),
        "wrong",
        "other users may read /var/lib/foldlog/a, and 1",
        "chmod 600",
    ),
    "owned": (data_findings.ownership(ROOT, permissions()), "ok", "everything belongs to foldlog", ""),
    "foreign": (
        data_findings.ownership(ROOT, permissions(foreign=[ROOT / "log/active-import.ndjson", ROOT, ROOT])),
        "wrong",
        "/var/lib/foldlog/log/active-import.ndjson belongs to root, and 2 more",
        "chown -R foldlog: /var/lib/foldlog",
    ),
    "own user": (data_findings.user("foldlog", "foldlog", "foldlog"), "ok", "foldlog", ""),
    "root runs": (data_findings.user("root", "root", "root"), "warning", "runs as root", "useradd"),
    "root alone": (data_findings.user("root", "root", None), "warning", "runs as root", "useradd"),
    "root looks": (data_findings.user("root", "foldlog", "foldlog"), "warning", "you are root", "sudo -u foldlog"),
    "other looks": (
        data_findings.user("jo", "foldlog", None),
        "warning",
        "you are jo",
        "sudo -u foldlog foldlog doctor",
    ),
    "running": (service_findings.processes(WELL, ON_TIME, Settings()), "ok", "2 responding", ""),
    "alone": (
        service_findings.processes(Running(None, {"0": True}), None, Settings()),
        "ok",
        "no `foldlog serve`, but",
        "",
    ),
    "nothing": (
        service_findings.processes(NOTHING, LATE, Settings()),
        "warning",
        "no process is running",
        "`foldlog serve`",
    ),
    "unasked": (service_findings.processes(Running(1, None), None, Settings()), "unknown", "only the user", ""),
    "stuck": (
        service_findings.processes(Running(1, {"0": True, "1": False}), 0, Settings()),
        "wrong",
        "do not respond: 1",
        "child_stuck",
    ),
    "no worker": (
        service_findings.processes(Running(1, {}), ON_TIME, Settings()),
        "wrong",
        "no worker responds",
        "check the log",
    ),
    "late": (
        service_findings.processes(WELL, LATE, Settings()),
        "wrong",
        "the last fold was 3 min ago",
        "foldlog compact",
    ),
    "listens": (service_findings.address(WELL, True, Settings()), "ok", "127.0.0.1:8080: a worker listens", ""),
    "free": (service_findings.address(NOTHING, False, Settings()), "ok", "8080: free", ""),
    "taken": (
        service_findings.address(NOTHING, True, Settings()),
        "wrong",
        "not a worker of this directory",
        "ss -ltnp 'sport = :8080'",
    ),
    "unseen": (service_findings.address(WELL, None, Settings()), "unknown", "cannot be seen", ""),
    "elsewhere": (
        service_findings.address(WELL, False, Settings()),
        "warning",
        "nothing listens at 127",
        "check-config",
    ),
    "loopback": (service_findings.proxies(False, Settings()), "ok", "only this host", ""),
    "loopback 6": (service_findings.proxies(False, Settings(listen=("::1", 80))), "ok", "only this host", ""),
    "proxied": (service_findings.proxies(False, PROXIED), "ok", "trusted: 10.0.0.0/8", ""),
    "in the open": (
        service_findings.proxies(False, Settings(listen=("203.0.113.5", 80))),
        "warning",
        "203.0.113.5 without a proxy: plain HTTP",
        "docs/deploy-nginx.md",
    ),
    "one address": (
        service_findings.proxies(True, Settings()),
        "warning",
        WARNING,
        "FOLDLOG_TRUSTED_PROXIES=127.0.0.1",
    ),
    "trusts all": (
        service_findings.proxies(False, Settings(trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("0.0.0.0/0")))),
        "wrong",
        "clients choose their own",
        "FOLDLOG_TRUSTED_PROXIES=127.0.0.1",
    ),
    "trusts all of 6": (
        service_findings.proxies(False, Settings(trusted_proxies=(ip_network("::/0"),))),
        "wrong",
        "every address",
        "list",
    ),
    "rate store": (service_findings.rate_store("redis://c", 0.0012, 0.05), "ok", "redis://c answers after 1.2 ms", ""),
    "slow rate store": (
        service_findings.rate_store("redis://c", 0.08, 0.05),
        "warning",
        "after 80 ms, and no request waits longer than 50",
        "docs/runbook.md",
    ),
    "no rate store": (
        service_findings.rate_store("redis://c", "refused", 0.05),
        "warning",
        "redis://c does not answer (refused): each host counts alone",
        "docs/runbook.md",
    ),
    "store": (store(as_of="x", published_at="2026-11-22"), "ok", "sqlite:///a.db holds generation 3, since", ""),
    "empty store of nothing": (store(newest=0, generation=0), "ok", "holds nothing of this host", ""),
    "nothing published": (store(generation=0), "warning", "nothing has been published", "foldlog store publish"),
    "store is down": (
        store(published_at="2026-11-22", failures=2, error="it is down"),
        "warning",
        "holds generation 3; 2 attempts to publish failed, the last with: it is down",
        "docs/runbook.md, The store is down",
    ),
    "store is behind": (
        store(published_at="2026-11-22", lag_s=600.0, waiting_ids=7),
        "warning",
        "holds generation 3 of 4, and is 10 min behind: 7 ids wait",
        "docs/runbook.md, The store is behind",
    ),
    "store refuses": (
        store(failures=2, refused=True, error="type `foldlog store takeover`"),
        "wrong",
        "type `foldlog store takeover`",
        "docs/runbook.md, The store refuses this host",
    ),
    "foreign database": (
        store_findings.database_url(IgnoredUrl("it begins with mysql://", "set FOLDLOG_STORE", is_meant=False)),
        "warning",
        "mysql://",
        "set FOLDLOG_STORE",
    ),
    "database turned off": (
        store_findings.database_url(IgnoredUrl("it is not used", "postgres uses it", is_meant=True)),
        "ok",
        "it is not used; postgres uses it",
        "",
    ),
    "parts": (data_findings.parts(3, PartFiles(12, [])), "ok", "all 12 of generation 3", ""),
    "part gone": (
        data_findings.parts(3, PartFiles(12, [ROOT / "x"])),
        "wrong",
        "x is missing or has another",
        "foldlog rebuild",
    ),
    "checksums": (data_findings.without_checksum([]), "ok", "has its checksum", ""),
    "suspect": (
        data_findings.without_checksum(["a.ndjson", "b.ndjson"]),
        "warning",
        "a.ndjson has no .sha256, and 1 more",
        "dmesg",
    ),
    "no conflict": (data_findings.conflicts(0, 0, 7), "ok", "none since generation 7, 0 in all", ""),
    "old conflicts": (data_findings.conflicts(9, 0, 7), "ok", "none since generation 7, 9 in all", ""),
    "fewer after a rebuild": (data_findings.conflicts(2, -7, 7), "ok", "none since generation 7, 2 in all", ""),
    "conflicts": (
        data_findings.conflicts(1009, 1000, 7),
        "warning",
        "1,000 since generation 7, 1,009 in all",
        "docs/reports.md",
    ),
    "nothing set aside": (data_findings.set_aside(()), "ok", "every event", ""),
    "set aside": (
        data_findings.set_aside([SetAside("20261122T120000Z-0-0000000001", None, 3, 900, "Broken: so", 3)]),
        "warning",
        "3 events of 20261122T120000Z-0-0000000001 could not be folded: Broken: so",
        "foldlog compact --retry",
    ),
    "sites listed": (data_findings.sites(summary_of("a.example", "b.example"), ["a.example"]), "ok", "a.example", ""),
    "no site yet": (data_findings.sites(None, []), "ok", "FOLDLOG_SITES can list", ""),
    "one site": (data_findings.sites(summary_of("a.example"), []), "ok", "FOLDLOG_SITES can list", ""),
    "sites that clients named": (
        data_findings.sites(summary_of("a.example", "b.example", "c.example"), []),
        "warning",
        "3 or more hosts have events, a.example",
        "FOLDLOG_SITES lists yours",
    ),
    "days merged": (data_findings.day_merge(Snapshot()), "ok", "in vain", ""),
    "day not merged": (
        data_findings.day_merge(
            Snapshot(days={date(2026, 11, 22): Day("", merge_failure=FailedMerge("Full: so", 3, "", "1", True))})
        ),
        "warning",
        "2026-11-22 could not be merged: Full: so",
        "foldlog compact --retry",
    ),
    "nothing on hold": (next(data_findings.holds({}, [], True)), "ok", "none", ""),
    "on hold": (
        next(data_findings.holds({"archive": HOLD}, [], True)),
        "warning",
        "the deletion of 12 of 14 days of the archive is on hold",
        "foldlog retain --confirm",
    ),
    "on hold, confirmed": (
        next(data_findings.holds({"archive": HOLD}, ["archive"], True)),
        "warning",
        "and confirmed",
        "next pass",
    ),
    "on hold, confirmed, and nothing runs": (
        next(data_findings.holds({"log": HOLD}, ["log"], False)),
        "warning",
        "and confirmed",
        "foldlog compact --once",
    ),
    "no erasure": (data_findings.erasures(0, True), "ok", "none", ""),
    "erasure": (data_findings.erasures(2, True), "warning", "2 pending", "next pass"),
    "erasure that waits": (data_findings.erasures(1, False), "warning", "1 pending", "foldlog compact --once"),
}


@pytest.mark.parametrize(("finding", "level", "found", "do"), [*HOST.values(), *DATA.values()], ids=[*HOST, *DATA])
def test_finding_has_a_level_and_what_to_do(finding: Finding, level: str, found: str, do: str) -> None:
    assert finding.level == level, finding
    assert found in finding.found
    assert do in finding.do
    assert bool(finding.do) == (level in {"warning", "wrong"})


# A setting that may not be meant, and what is said of it.
DOUBTFUL: dict[str, tuple[dict[str, Any], str]] = {
    "consent": ({"consent": "implied"}, "FOLDLOG_CONSENT=implied"),
    "reserve": ({"disk_reserve": 0}, "FOLDLOG_DISK_RESERVE=0"),
    "rate": ({"rate_limit": 0}, "FOLDLOG_RATE_LIMIT=0"),
    "durability": ({"durability": "os"}, "answers are 202"),
    "archive": ({"log_retention_days": 31, "archive_retention_days": 30}, "reports miss events of the log"),
    "log": ({"log_retention_days": 0}, "FOLDLOG_LOG_RETENTION_DAYS=0"),
    "country": ({"country_header": "CF-IPCountry"}, "FOLDLOG_COUNTRY_HEADER is accepted only"),
}


@pytest.mark.parametrize(("settings", "said"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_doubtful_setting_is_reported_without_its_secret(settings: dict[str, Any], said: str) -> None:
    doubtful, _ = service_findings.settings_of(Settings(**settings), 0)
    assert (doubtful.level, doubtful.check) == ("warning", "settings")
    assert said in doubtful.found and doubtful.do
    assert '"short"' not in repr(doubtful) and "'short'" not in repr(doubtful)


def test_default_settings_are_ok_and_show_who_may_write() -> None:
    fine, writers = service_findings.settings_of(Settings(), 0)
    assert (fine.level, writers.level) == ("ok", "ok")
    assert "only pages of the host that Foldlog serves" in writers.found and "FOLDLOG_SITES" in writers.found
    *_, writers = service_findings.settings_of(Settings(sites=("example.com",)), 2)
    assert writers.found == "pages of example.com; 2 keys for servers"


LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max file size             1048576              unlimited            bytes
Max open files            1024                 524288               files
Max locked memory         8388608              8388608              bytes
"""


def test_limits_are_parsed() -> None:
    assert host_probe.parse_limits(LIMITS)[:2] == (524288.0, math.inf)
    with pytest.raises(ValueError, match="Max open files"):
        host_probe.parse_limits("")
    assert host_probe.limits_of() is not None
    assert host_probe.limits_of(proc=Path("/nowhere")) is None


def fake_host(root: Path, cgroup: str, files: dict[str, str]) -> tuple[Path, Path]:
    proc, groups = root / "proc", root / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:        4194304 kB\nMemFree:  1 kB\n")
    (proc / "self/cgroup").write_text(cgroup)
    for name, content in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(content)
    return proc, groups


V1 = "5:cpu,cpuacct:/x\n4:memory:/system.slice/foldlog.service\n0::/\n"
MEMORY: dict[str, tuple[str, dict[str, str], int]] = {
    "no group": ("", {}, 4 * GIB),
    "v2": ("0::/system.slice/foldlog.service\n", {"system.slice/foldlog.service/memory.max": "1073741824\n"}, GIB),
    "v2, of the slice": ("0::/a/b\n", {"a/memory.max": "1073741824\n", "a/b/memory.max": "max\n"}, GIB),
    "v2, in a container": ("0::/\n", {"memory.max": "536870912\n"}, GIB // 2),
    "v2, above a namespace": ("0::/../../x\n", {"memory.max": "536870912\n"}, GIB // 2),
    "v2, more than there is": ("0::/\n", {"memory.max": "999999999999\n"}, 4 * GIB),
    "v1": (V1, {"memory/system.slice/foldlog.service/memory.limit_in_bytes": "1073741824\n"}, GIB),
    "v1 without a limit": (V1, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 4 * GIB),
}


@pytest.mark.parametrize(("cgroup", "files", "expected"), MEMORY.values(), ids=MEMORY)
def test_memory_is_the_minimum_of_all_cgroup_limits(
    tmp_path: Path, cgroup: str, files: dict[str, str], expected: int
) -> None:
    assert host_probe.memory_of(None, *fake_host(tmp_path, cgroup, files)) == expected


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 46120
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 20116
   2: 0100007F:1F91 0100007F:0016 01 00000000:00000000 02:000A2CA8 00000000     0        0 23181
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt
   0: 00000000000000000000000001000000:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000
   1: 0000000000000000FFFF00000100007F:1F93 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000
"""  # noqa: E501  as the kernel writes it


def test_listeners_are_parsed(tmp_path: Path) -> None:
    assert host_probe.listeners(TCP, TCP6) == [("127.0.0.1", 8080), ("0.0.0.0", 22), ("::1", 8082), ("127.0.0.1", 8083)]  # noqa: S104
    (tmp_path / "self/net").mkdir(parents=True)
    assert host_probe.is_listening("127.0.0.1", 8080, tmp_path) is None
    (tmp_path / "self/net/tcp").write_text(TCP)
    asked = {("127.0.0.1", 8080): True, ("localhost", 8080): True, ("0.0.0.0", 8080): True, ("10.0.0.1", 8080): False}  # noqa: S104
    asked |= {("127.0.0.1", 22): True, ("127.0.0.1", 8081): False}
    assert {each: host_probe.is_listening(*each, tmp_path) for each in asked} == asked


def test_clock_state_is_read() -> None:
    assert host_probe.is_clock_synchronised() in {True, False, None}


def test_pace_is_that_of_the_last_hour(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    assert data_probe.pace(sealed_segments(data)) == 0
    name = sealed(data, [line("event-0001", now_ms())])
    for number, age_s in enumerate((600, 3_000, 3_900)):
        at = name.sealed_at.fromtimestamp(name.sealed_at.timestamp() - age_s, name.sealed_at.tzinfo)
        (data.log / SegmentName("1", number, at).file).write_bytes(bytes(1_000_000))
    assert data_probe.pace(sealed_segments(data)) == pytest.approx(24 * 2_000_000, rel=0.01)


def test_growth_is_the_mean_of_the_last_days_once_there_is_one(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    assert data_probe.growth(data, sealed_segments(data), Settings()) is None
    name = sealed(data, [line("event-0001", now_ms())])
    assert data_probe.growth(data, sealed_segments(data), Settings()) is None
    for days in (1.5, 2.5):
        at = name.sealed_at.timestamp() - days * DAY_S
        old = SegmentName("1", int(10 - days), name.sealed_at.fromtimestamp(at, name.sealed_at.tzinfo))
        (data.log / old.file).write_bytes(bytes(1_000_000))
    assert data_probe.growth(data, sealed_segments(data), Settings()) == pytest.approx(
        500_000, rel=0.01
    )  # 2 days: the third segment is before them
    assert data_probe.growth(data, sealed_segments(data), Settings(log_retention_days=2)) == 0  # as much goes as comes
    full = Settings(log_max_bytes=2_100_000)
    assert data_probe.growth(data, sealed_segments(data), full) == 0
    fold(data, now_ms())
    parts = sum(path.stat().st_size for path in [*data.archive.glob("*/*"), *data.counters.glob("*/*")])
    assert data_probe.growth(data, sealed_segments(data), Settings(log_retention_days=2)) == parts / 2
    full = Settings(log_max_bytes=2_100_000, archive_max_bytes=1)
    counters = sum(path.stat().st_size for path in data.counters.glob("*/*"))
    assert data_probe.growth(data, sealed_segments(data), full) == counters / 2


def doctor(data: DataDirectory, **settings: object) -> dict[str, dict[str, str]]:
    """The findings by name; every one that is not well says what to do. In this
    process: starting another takes longer.
    """
    given: dict[str, object] = {"disk_reserve": 1, "rate_limit": 600, "listen": "127.0.0.1:1"}
    return by_name(
        [each._asdict() for each in examine(data, load_settings(environment(data.root, **(given | settings))))]
    )


def by_name(found: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    assert [each for each in found if each["level"] in {"warning", "wrong"} and not each["do"]] == []
    return {each["check"]: each for each in found}


def printed(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    """What the command said; its exit code is 1 if something is wrong, 0 with warnings
    only.
    """
    assert done.stderr == ""
    found = by_name(json.loads(done.stdout))
    assert done.returncode == (1 if wrong(found) else 0)
    return found


def wrong(found: dict[str, dict[str, str]]) -> set[str]:
    return {check for check, each in found.items() if each["level"] == "wrong"}


def level(found: dict[str, dict[str, str]], check: str) -> str:
    return found[check]["level"]


CHECKS = [
    *("file system", "writing", "data directory", "private files", "ownership", "user"),
    *("open files", "file size", "core dumps", "memory", "cores", "free space", "log pace", "inodes"),
    *("clock sync", "clock"),
    *("processes", "address", "proxies", "settings", "who may write", "sites", "snapshot", "parts", "segments"),
    *("set aside", "day merge", "retention holds", "erasures", "conflicts"),
]


def test_examining_a_stopped_directory_changes_nothing(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    sealed(data, [line("event-0001")])
    fold(data, now_ms())
    before = tree(data.root)
    found = printed(run_here(["doctor", "--json"], environment(data.root, listen="127.0.0.1:1")))
    assert list(found) == CHECKS
    assert level(found, "processes") == "warning"
    assert wrong(found) == set()
    assert tree(data.root) == before


@pytest.mark.long
def test_running_service_is_ok(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2, disk_reserve=1, rate_limit=600) as server:
        server.post([{"name": "pageview"}])
        server.fold()
        found = printed(run_here(["doctor", "--json"], server.environ))
        assert wrong(found) == set()
        assert found["processes"]["found"].startswith(f"`foldlog serve` (process {server.running.pid}): 2 responding")
        assert f"for process {server.running.pid}" in found["open files"]["found"]
        assert found["address"]["found"] == f"{server.host}: a worker listens"
        other = server.environ | {"FOLDLOG_LISTEN": "127.0.0.1:1"}
        found = printed(run_here(["doctor", "--json"], other))
        assert found["address"]["found"] == "workers are running, but nothing listens at 127.0.0.1:1"


def test_hold_is_a_warning_until_a_pass_has_carried_out_what_was_confirmed(tmp_path: Path) -> None:
    data = history(tmp_path / "data", 8, now_ms())
    fold(data, now_ms(), archive_retention_days=7)
    assert doctor(data)["retention holds"]["do"].startswith("`foldlog retain --dry-run`")
    hold = load_snapshot(data).retention.on_hold["archive"]
    confirm_hold(data, ConfirmedHold("archive", hold.first, hold.last, hold.days))
    assert doctor(data)["retention holds"]["found"].endswith("and confirmed")
    fold(data, now_ms(), archive_retention_days=7)
    assert level(doctor(data), "retention holds") == "ok"


def test_missing_directory_is_ok(tmp_path: Path) -> None:
    found = doctor(DataDirectory(tmp_path / "data"))
    assert wrong(found) == set()
    assert found["writing"]["found"].endswith("data does not exist yet; `foldlog serve` creates it")
    assert not (tmp_path / "data").exists()


def test_invalid_setting_ends_with_2(tmp_path: Path) -> None:
    done = run_here(["doctor"], environment(tmp_path, workers="many"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "FOLDLOG_WORKERS" in done.stderr


def test_address_of_another_process_is_wrong(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    with socket.create_server(("127.0.0.1", 0)) as other:
        environ = environment(data.root, listen=f"127.0.0.1:{other.getsockname()[1]}")
        found = printed(run_here(["doctor", "--json"], environ))
    assert wrong(found) == {"address"}


def as_of_now(data: DataDirectory) -> None:
    sealed(data, [line("event-0001", now_ms())])
    fold(data, now_ms())
    sealed(data, [line("event-0002", now_ms())])
    fold(data, now_ms())


def damage_kept(data: DataDirectory) -> None:
    data.kept_snapshot(1).write_bytes(b"{")


def lose_part(data: DataDirectory) -> None:
    next(data.archive.glob("*/*.parquet")).unlink()
    kept = load_snapshot(data)
    assert kept.generation == 2


def lose_snapshots(data: DataDirectory) -> None:
    data.snapshot.unlink()
    data.kept_snapshot(1).write_bytes(b"{")


def damage_snapshot(data: DataDirectory) -> None:
    data.snapshot.write_bytes(b"{")


def newer_snapshot(data: DataDirectory) -> None:
    data.snapshot.write_text('{"format": 99}')


def lose_checksum(data: DataDirectory) -> None:
    (data.log / sealed(data, [line("event-0003")]).checksum).unlink()


def seal_in_the_future(data: DataDirectory) -> None:
    (data.log / "20991122T160000Z-7-0000000001.ndjson").write_bytes(b"")


def damage_tokens(data: DataDirectory) -> None:
    data.tokens.write_bytes(b"{")
    data.tokens.chmod(0o600)


def loosen_tokens(data: DataDirectory) -> None:
    data.tokens.write_bytes(b"[]")
    data.tokens.chmod(0o644)


def keep_a_goal_of_visits(data: DataDirectory) -> None:
    of_visits = ({"kind": kind, "name": name, "filter": "entry==/a"} for kind, name in (("goal", "a"), ("filter", "b")))
    data.goals.write_bytes(json.dumps(list(of_visits)).encode())


def damage_shares(data: DataDirectory) -> None:
    data.private.mkdir(mode=0o700, exist_ok=True)
    data.shares.write_bytes(b"{")
    data.shares.chmod(0o600)


def edit_a_share(data: DataDirectory) -> None:
    damage_shares(data)
    data.shares.write_bytes(b'[{"id":"none"}]')


def damage_goals(data: DataDirectory) -> None:
    data.goals.write_bytes(b"{")


def edit_a_goal(data: DataDirectory) -> None:
    data.goals.write_bytes(b'[{"kind":"goal","name":"a","filter":"path==/"},{"kind":"gaol"}]')


def mistype_a_goal(data: DataDirectory) -> None:
    data.goals.write_bytes(b'[{"kind":"goal","name":"a","filter":"path=/"}]')


def damage_annotations(data: DataDirectory) -> None:
    data.annotations.write_bytes(b"[")


def edit_an_annotation(data: DataDirectory) -> None:
    data.annotations.write_bytes(b'[{"at":"2026-02-30","text":"a"},{"at":"2026-02-28","text":"b"}]')


def see_one_address(data: DataDirectory) -> None:
    data.undeclared_proxy.write_text('{"since":"2026-11-22T16:00:00.000Z","requests":50,"trusted_proxies":""}')
    data.undeclared_proxy.chmod(0o600)


def let_everybody_write(data: DataDirectory) -> None:
    data.root.chmod(0o777)


FAULTS = {
    "kept snapshot damaged": (damage_kept, "snapshot", "warning", "the newest kept one is not"),
    "part lost": (lose_part, "parts", "wrong", "is missing or has another size"),
    "snapshots lost": (lose_snapshots, "snapshot", "wrong", "snapshot.json is missing"),
    "snapshot damaged": (damage_snapshot, "snapshot", "warning", "is damaged"),
    "newer format": (newer_snapshot, "formats", "wrong", "made by a newer Foldlog (format 99"),
    "checksum lost": (lose_checksum, "segments", "warning", "has no .sha256"),
    "clock behind": (seal_in_the_future, "clock", "wrong", "behind 20991122T160000Z-7-0000000001.ndjson"),
    "tokens damaged": (damage_tokens, "tokens", "wrong", "tokens.json is damaged: no token in it is valid"),
    "tokens readable": (loosen_tokens, "private files", "wrong", "other users may read"),
    "goals damaged": (damage_goals, "goals", "wrong", "goals.json is damaged: no goal and no saved filter"),
    "a goal edited": (edit_a_goal, "goals", "wrong", "has 1 of 2 entries that are not read"),
    "a goal of visits": (keep_a_goal_of_visits, "goals", "wrong", "the filter of a is none of a report"),
    "share links damaged": (damage_shares, "share links", "wrong", "no link in it opens anything"),
    "a share link edited": (edit_a_share, "share links", "wrong", "they open nothing, the others do"),
    "a goal mistyped": (mistype_a_goal, "goals", "wrong", "the filter of a is none of a report"),
    "annotations damaged": (damage_annotations, "annotations", "wrong", "is damaged: no annotation is shown"),
    "an annotation edited": (edit_an_annotation, "annotations", "wrong", "has 1 of 2 entries that are not read"),
    "one address": (see_one_address, "proxies", "warning", "comes from one address"),
    "writable": (let_everybody_write, "data directory", "wrong", "every user may write there"),
}


@pytest.mark.parametrize(("do", "check", "expected", "said"), FAULTS.values(), ids=FAULTS)
def test_fault_of_a_directory_is_found(tmp_path: Path, do: Any, check: str, expected: str, said: str) -> None:
    data = data_directory(tmp_path / "data")
    as_of_now(data)
    do(data)
    before = tree(data.root)
    found = doctor(data)
    assert level(found, check) == expected
    assert said in found[check]["found"]
    assert wrong(found) <= {check}
    assert tree(data.root) == before


def test_limits_of_the_process_are_reported(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    command = [sys.executable, "-m", "foldlog", "doctor", "--json"]
    environ = environment(data.root, listen="127.0.0.1:1")
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, preexec_fn=limited, timeout=60, check=False
    )
    found = printed(done)
    assert wrong(found) == {"file size"}
    assert found["open files"]["found"].startswith("512 for this command: a worker accepts 384 connections")
    assert "LimitNOFILE=8320" in found["open files"]["do"]


def test_unwritable_log_file_is_wrong(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    assert wrong(doctor(data, log_file=tmp_path / "nowhere" / "foldlog.log")) == {"messages"}
    found = doctor(data, log_file=tmp_path / "foldlog.log", country_file=tmp_path / "none.mmdb")
    assert (level(found, "messages"), level(found, "countries")) == ("ok", "warning")
    assert not (tmp_path / "foldlog.log").exists()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another owner, and mounting, needs root")


@needs_root
def test_file_of_root_is_reported(tmp_path: Path) -> None:
    """`sudo foldlog import` made it, and the service may not replace it."""
    data = data_directory(tmp_path / "data")
    as_of_now(data)
    for path in (data.root, *data.root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    left = sorted(data.log.glob("*.ndjson"))[0]
    os.chown(left, 0, 0)
    found = doctor(data)
    assert (wrong(found), level(found, "user")) == ({"ownership"}, "warning")
    assert f"{left} belongs to root: a command was run as that user" in found["ownership"]["found"]
    assert re.search(rf"chown -R \w+: {data.root}", found["ownership"]["do"])


# The command as another user: all is imported before, for this Python may be where that
# user cannot read.
AS_NOBODY = """
import importlib, locale, os, pkgutil, sys, encodings.ascii, encodings.idna
import foldlog
from foldlog.cli import main
for module in pkgutil.walk_packages(foldlog.__path__, "foldlog."):
    if module.name != "foldlog.__main__":
        importlib.import_module(module.name)
os.setgroups([]); os.setegid(65534); os.seteuid(65534)
sys.exit(main())
"""


@needs_root
def test_user_without_permission_gets_findings_and_no_traceback() -> None:
    # Not tmp_path: whenever a session starts, pytest closes what is above it to others.
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o711)
        data = data_directory(Path(root, "data"))
        as_of_now(data)
        environ = environment(data.root, listen="127.0.0.1:1")
        command = [sys.executable, "-c", AS_NOBODY, "doctor", "--json"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        found = printed(done)
    assert level(found, "writing") == "wrong" and "Permission denied" in found["writing"]["found"]
    assert level(found, "files") == "unknown" and "as the user that Foldlog runs as" in found["files"]["do"]
    assert level(found, "processes") == "unknown"


@contextmanager
def mounted(*arguments: str, at: Path) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    if shutil.which("mount") is None or subprocess.run(["mount", *arguments, str(at)], check=False).returncode:  # noqa: S607
        pytest.skip("mounting needs root")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)  # noqa: S607


@needs_root
def test_real_file_system_in_memory_is_a_warning(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=16m,nr_inodes=500", "tmpfs", at=tmp_path / "disk") as disk:
        found = doctor(data_directory(disk / "data"))
        assert (level(found, "file system"), wrong(found)) == ("warning", {"inodes"})
        assert f"tmpfs, mounted at {disk}: in memory" in found["file system"]["found"]


@needs_root
def test_real_layer_of_a_container_is_a_warning(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    options = ",".join(f"{name}dir={tmp_path / name}" for name in ("lower", "upper", "work"))
    with mounted("-t", "overlay", "-o", options, "overlay", at=tmp_path / "merged") as merged:
        found = doctor(data_directory(merged / "data"))
        assert (level(found, "file system"), wrong(found)) == ("warning", set())


@needs_root
def test_real_read_only_mount_is_wrong(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    as_of_now(data)
    with mounted("--bind", str(data.root), at=data.root):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(data.root)], check=True)  # noqa: S607
        found = doctor(data)
        assert wrong(found) == {"file system", "writing"}
        assert os.strerror(errno.EROFS) in found["writing"]["found"]
        assert f"mount -o remount,rw {data.root}" in found["file system"]["do"]


def test_terminal_of_80_columns_is_not_overrun(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    ours, theirs = pty.openpty()
    environ = environment(data.root) | {"COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "foldlog", "doctor"], env=environ, stdin=theirs, stdout=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):
            while block := os.read(ours, 1 << 16):
                shown += block
        assert process.wait(60) == 0
    os.close(ours)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n").splitlines()
    assert max(map(len, lines)) <= 80
    assert re.fullmatch(r"ok +file system +ext4.*|warning +file system +.*|ok +file system .*", lines[0])
    assert re.fullmatch(r"0 wrong, \d+ warnings", lines[-1])
    assert any(each.strip().startswith("to do: ") for each in lines)
