"""`foldlog doctor`: examines the host, the data directory and the settings, and shows
what to type.

This module and the probes collect values; the findings modules turn them into text. It
runs beside a service or without one, takes no lock, and writes only a probe file that
it removes.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from filelock import lock_descriptor

from foldlog.database_url import IgnoredUrl
from foldlog.doctor import (
    cluster_findings,
    cluster_probe,
    data_findings,
    data_probe,
    host_findings,
    host_probe,
    rate_store_probe,
    secret_files,
    service_findings,
    store_findings,
)
from foldlog.doctor.data_findings import Permissions
from foldlog.doctor.file_systems import find_mount
from foldlog.doctor.finding import Finding
from foldlog.processes import Running, find_running
from foldlog.users import me, user_name
from shared import undeclared_proxy
from shared.annotations import read_annotations
from shared.disk.durable import PRIVATE_MODE, publish, remove
from shared.disk.layout import DataDirectory
from shared.disk.room import directories, least_room, room_in
from shared.generations.last_look import last_pass_ms
from shared.named_filters import NamedFilter, read_named_filters
from shared.rate_store import LOCAL, RateStorePackageMissing, without_secrets
from shared.segments.recovery import not_segments
from shared.segments.sealed import Segment, sealed_segments
from shared.settings import Settings
from shared.shared_tokens import read_shared_tokens
from shared.stores.address import is_clickhouse
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.condition import store_status
from shared.tokens import read_tokens

_ADVICE = {
    errno.EACCES: "run this as the user that Foldlog runs as; if you are that user, chown the directory to yourself",
    errno.EROFS: "it is mounted read-only: see the file system above",
    errno.ENOSPC: "make room: the disk is full (`df -h`, `df -i`)",
    errno.EDQUOT: "make room: the quota of this user is used up (`quota`)",
}

Checks = Iterator[Finding]
Step = tuple[str, Callable[[], Checks]]


def examine(
    data: DataDirectory, settings: Settings, ignored_url: IgnoredUrl | None = None, config: Path | None = None
) -> list[Finding]:
    """All findings. A check that cannot be done does not prevent the others.
    `ignored_url`: why DATABASE_URL is not used. `config`: the TOML file of settings.
    """
    running = find_running(data)
    found: list[Finding] = []
    for name, step in _steps(data, settings, running, ignored_url, config):
        try:
            found += step()
        except OSError as error:
            do = "run it as the user that Foldlog runs as (or as root)" if isinstance(error, PermissionError) else ""
            where = f": {error.filename}" if error.filename else ""
            found.append(Finding(name, "unknown", f"cannot be checked: {error.strerror or error}{where}", do))
    return found


def _steps(
    data: DataDirectory, settings: Settings, running: Running, ignored_url: IgnoredUrl | None, config: Path | None
) -> Iterator[Step]:
    sealed = cache(lambda: sealed_segments(data))  # listed once: there may be a hundred thousand
    yield "file system", lambda: _file_systems(data)
    yield "probe", lambda: _writing(data)
    yield "permissions", lambda: _permissions(data, running)
    yield "locks", lambda: data_probe.locks(data)
    yield "settings file", lambda: secret_files.findings(secret_files.settings_files(config), _owner(data))
    yield "limits", lambda: _limits(settings, running)
    yield "free space", lambda: _space(data, sealed(), settings)
    yield "clock", lambda: data_probe.clock(data, sealed())
    yield "processes", lambda: _processes(data, settings, running)
    yield "store", lambda: _store(data, settings, ignored_url)
    yield "cluster", lambda: _cluster(settings)
    yield "rate store", lambda: _rate_store(settings)
    yield "settings", lambda: _settings(data, settings)
    yield "sites", lambda: iter([data_findings.sites(data_probe.snapshot_of(data).summary, settings.sites)])
    yield "active segments", lambda: data_findings.active_segments(not_segments(data))
    yield "files", lambda: data_probe.files(data, sealed(), running)


def _writing(data: DataDirectory) -> Checks:
    """Create a file, rename it, sync it and its directory, and lock it against another
    descriptor, as Foldlog does.
    """
    name = "writing"
    if not data.root.is_dir():
        yield _not_created_yet(data, name)
        return
    probe = data.probe(os.getpid())
    try:
        publish(probe, b"", PRIVATE_MODE)  # no other user may lock it
        is_exclusive = _lock_is_exclusive(probe)
    except OSError as error:
        do = _ADVICE.get(error.errno or 0, "`dmesg` shows what the kernel reports about the disk")
        yield Finding(name, "wrong", f"a file cannot be created in {data.root}: {error.strerror or error}", do)
        return
    finally:
        remove([probe])
    if is_exclusive:
        yield Finding(name, "ok", "a file can be created, renamed, synced and locked")
    else:
        do = "set FOLDLOG_DATA_DIR to a directory on a disk of this host"
        yield Finding(name, "wrong", f"the same lock was taken twice in {data.root}: locks do not work there", do)


def _lock_is_exclusive(path: Path) -> bool:
    with path.open("rb") as one, path.open("rb") as other:
        return lock_descriptor(one.fileno(), blocking=False) and not lock_descriptor(other.fileno(), blocking=False)


def _not_created_yet(data: DataDirectory, name: str) -> Finding:
    parent = next(parent for parent in data.root.absolute().parents if parent.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return Finding(name, "ok", f"{data.root} does not exist yet; `foldlog serve` creates it")
    do = f"install -d -m 750 -o {me()} {data.root} (as root)"
    return Finding(name, "wrong", f"{data.root} does not exist, and {me()} may not create it in {parent}", do)


def _permissions(data: DataDirectory, running: Running) -> Checks:
    if not data.root.is_dir():
        return
    permissions = _read_permissions(data)
    yield data_findings.data_directory(data.root, permissions)
    yield data_findings.private(data.private, permissions)
    yield data_findings.ownership(data.root, permissions)
    yield data_findings.user(me(), permissions.owner, _user_of(running.serve))


def _read_permissions(data: DataDirectory) -> Permissions:
    root = data.root.stat()
    foreign = [(Path(path), found.st_uid) for path, found in _below(data.root) if found.st_uid != root.st_uid]
    has_private = data.private.is_dir()
    return Permissions(
        owner=user_name(root.st_uid),
        mode=stat.S_IMODE(root.st_mode),
        private_mode=stat.S_IMODE(data.private.stat().st_mode) if has_private else None,
        loose=[Path(path) for path, found in _below(data.private) if found.st_mode & 0o077] if has_private else [],
        foreign=[path for path, _ in foreign],
        foreign_owner=user_name(foreign[0][1]) if foreign else "",
    )


def _owner(data: DataDirectory) -> int:
    """The user of the service, as far as the data says."""
    return data.root.stat().st_uid if data.root.is_dir() else os.geteuid()


def _below(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All accessible entries below a directory. Does not follow links."""
    for folder, folders, files in os.walk(directory):
        for name in sorted(folders) + sorted(files):
            path = os.path.join(folder, name)
            try:
                yield path, os.lstat(path)
            except OSError:
                continue  # removed since it was listed


def _limits(settings: Settings, running: Running) -> Checks:
    pid = running.serve
    limits, whose = host_probe.limits_of(pid), f"for process {pid}" if pid else "for this command"
    if limits is None and pid:
        limits, whose = host_probe.limits_of(), "for this command (those of the service cannot be read)"
    if limits is not None:
        yield host_findings.open_files(limits.open_files, whose, settings)
        yield host_findings.file_size(limits.file_size, whose, settings)
        yield host_findings.core_dumps(host_probe.core_pattern(), limits.core, whose)
    yield host_findings.memory(host_probe.memory_of(pid), settings)
    yield host_findings.cores(host_probe.cores(), settings)


def _file_systems(data: DataDirectory) -> Checks:
    """That of the data directory, and of each directory in it that has another one."""
    first = find_mount(data.root)
    yield host_findings.file_system(data.root, first)
    for directory in directories(data):
        mount = find_mount(directory)
        if mount is not None and mount != first:
            yield host_findings.file_system(directory, mount)


def _space(data: DataDirectory, sealed: Sequence[Segment], settings: Settings) -> Checks:
    if os.path.isdir(data.root):
        least = least_room(data)
    else:
        least = room_in(next(path for path in data.root.absolute().parents if path.exists()))
    growth = data_probe.growth(data, sealed, settings)
    yield host_findings.space(least.free_bytes, least.total_bytes, settings, growth)
    yield host_findings.pace(least.free_bytes, settings, data_probe.pace(sealed))
    yield host_findings.inodes(least.free_files, least.total_files)


def _processes(data: DataDirectory, settings: Settings, running: Running) -> Checks:
    snapshot = data_probe.snapshot_of(data)
    looked_ms = last_pass_ms(data, snapshot)
    lag_s = max(0.0, time.time() - looked_ms / 1000) if looked_ms else None
    is_undeclared = undeclared_proxy.load(data, settings) is not None
    yield service_findings.processes(running, lag_s, settings)
    yield service_findings.address(running, host_probe.is_listening(*settings.listen), settings)
    yield service_findings.proxies(is_undeclared, settings)


def _store(data: DataDirectory, settings: Settings, ignored_url: IgnoredUrl | None) -> Checks:
    if ignored_url:
        yield store_findings.database_url(ignored_url)
    newest = data_probe.snapshot_of(data)
    found = store_status(data, settings, newest)
    if found is not None:
        yield store_findings.store(found, newest.generation, settings)


def _cluster(settings: Settings) -> Checks:
    if is_clickhouse(settings.store):
        cluster = parse_cluster(settings.store)
        for state in cluster_probe.states_of(cluster):
            yield from cluster_findings.shard(state, len(cluster.shards))


def _rate_store(settings: Settings) -> Checks:
    if settings.rate_store == LOCAL:
        return  # and nothing of it is loaded
    from ingest.rate_store.link import ANSWER_S

    try:
        answer = rate_store_probe.answer_of(settings)
    except RateStorePackageMissing as error:
        yield Finding("rate store", "wrong", str(error), "the same, then restart the service")
        return
    if answer is not None:
        yield service_findings.rate_store(without_secrets(settings.rate_store), answer, ANSWER_S)


def _settings(data: DataDirectory, settings: Settings) -> Checks:
    own, shared = read_tokens(data), read_shared_tokens(data, settings.store)
    yield from data_findings.tokens(data.tokens, own)
    yield from data_findings.store_tokens(data.store_tokens, shared)
    yield from _goals(data)
    yield from data_findings.notes(data.annotations, read_annotations(data))
    yield from _share_links(data)
    tokens = (*own.tokens, *shared.tokens)
    yield from service_findings.settings_of(settings, sum(token.scope == "ingest" for token in tokens))
    yield from _paths(settings)


def _share_links(data: DataDirectory) -> Checks:
    from ingest.share_links.links_file import read_links

    links = read_links(data)
    yield from data_findings.share_links(data.shares, links.damage, is_lost=links.is_lost)


def _goals(data: DataDirectory) -> Checks:
    from reports.filters import event_filter, parse_filter
    from reports.query_error import QueryError

    def is_invalid(entry: NamedFilter) -> bool:
        try:
            (event_filter if entry.kind == "goal" else parse_filter)(entry.filter, "filter")
        except QueryError:
            return True
        return False

    found = read_named_filters(data)
    yield from data_findings.goals(data.goals, found, [each.name for each in found.entries if is_invalid(each)])


def _paths(settings: Settings) -> Checks:
    if settings.log_file is not None:
        yield _log_file(settings.log_file)
    if settings.country_file is not None and not os.access(settings.country_file, os.R_OK):
        found = f"FOLDLOG_COUNTRY_FILE: {settings.country_file} cannot be read; events get no country from it"
        yield Finding("countries", "warning", found, "put a .mmdb file there, or remove the setting")


def _log_file(path: Path) -> Finding:
    name = "messages"
    target = path if path.exists() else path.absolute().parent
    if not target.exists():
        do = f"install -d -o {me()} {target}"
        return Finding(name, "wrong", f"FOLDLOG_LOG_FILE: there is no directory {target}", do)
    if not os.access(target, os.W_OK):
        found = f"FOLDLOG_LOG_FILE: {me()} may not write to {target}"
        return Finding(name, "wrong", found, f"chown {me()} {target}")
    return Finding(name, "ok", f"written to {path}")


def _user_of(pid: int | None) -> str | None:
    uid = host_probe.user_of(pid) if pid else None
    return None if uid is None else user_name(uid)
