"""Findings of `foldlog doctor` about the servers of a ClickHouse store: pure
functions.
"""

from __future__ import annotations

from collections.abc import Iterator

from foldlog.doctor.cluster_probe import ShardState
from foldlog.doctor.finding import Finding
from foldlog.quantities import counted, size, span
from shared.stores.clickhouse.tables import FIRST_VERSION

_NAME = "cluster"
CLOCKS_MAX_S = 60.0
# A question reads all parts of a month beside each other, to find copies (FINAL).
PARTS_MAX = 100
FREE_MIN_SHARE = 0.1
_PAGE = "docs/scale-out.md, What fails, and how"


def shard(state: ShardState | str, shards: int) -> Iterator[Finding]:
    """What is not well of one server, else what it is. `shards`: how many FOLDLOG_STORE
    names.
    """
    if isinstance(state, str):
        yield Finding(_NAME, "warning", state, "docs/runbook.md, The store is down")
        return
    found = [each for each in (_shards(state, shards), _version(state), _clock(state), _parts(state)) if each]
    found += _disks(state)
    if found:
        yield from found
    else:
        free = "".join(f", {size(disk.free)} free on {disk.name}" for disk in state.disks)
        parts = f"{counted(state.parts, 'part')} in {state.month}" if state.parts else "no events yet"
        yield Finding(_NAME, "ok", f"{state.server}: ClickHouse {_text(state.version)}, {parts}{free}")


def _shards(state: ShardState, shards: int) -> Finding | None:
    if state.shards in (None, shards):
        return None
    known = f"{state.server} knows {counted(state.shards or 0, 'shard')}, and FOLDLOG_STORE names {shards:,}"
    return Finding(_NAME, "wrong", known, "name the same ones in `remote_servers` and FOLDLOG_STORE, in one order")


def _version(state: ShardState) -> Finding | None:
    if state.version >= FIRST_VERSION:
        return None
    found = f"{state.server} is version {_text(state.version)}: it takes events, and reports refuse it"
    return Finding(_NAME, "warning", found, f"upgrade it to {_text(FIRST_VERSION)} or later")


def _clock(state: ShardState) -> Finding | None:
    if abs(state.ahead_s) <= CLOCKS_MAX_S:
        return None
    where = "ahead of" if state.ahead_s > 0 else "behind"
    found = f"the clock of {state.server} is {span(abs(state.ahead_s))} {where} that of this host"
    return Finding(_NAME, "warning", found, "set both by NTP (`timedatectl`): whether a host is behind is told by them")


def _parts(state: ShardState) -> Finding | None:
    if state.parts <= PARTS_MAX:
        return None
    found = f"{state.server} has {state.parts:,} parts of {state.month}: each question about it merges them (FINAL)"
    return Finding(
        _NAME, "warning", found, "see whether merges are behind (`system.merges`), and raise FOLDLOG_FOLD_INTERVAL"
    )


def _disks(state: ShardState) -> list[Finding]:
    low = [disk for disk in state.disks if disk.free < disk.total * FREE_MIN_SHARE]
    return [
        Finding(
            _NAME,
            "warning",
            f"{state.server}: {size(disk.free)} of {size(disk.total)} are free on its disk {disk.name}",
            f"make room or add a disk: a full one takes no events ({_PAGE})",
        )
        for disk in low
    ]


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
