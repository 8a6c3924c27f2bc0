"""`foldlog backup DEST`: a second directory of the same files, by hard links, that is
consistent as it stands.

It holds every event that was acknowledged before it was started: the writers seal
first. The rest happens under the compactor's lock, so the snapshot, its parts and the
log stay together. Everything that is linked is replaced by a rename or removed, and
never written to (P4, P5), so nothing that happens to the data directory later shows in
the backup.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from compactor.generations.kept import kept_snapshots
from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from compactor.repair.directory_check import later_parts
from compactor.run_pass import recover_orphans
from shared.disk.control_files import seal_and_wait
from shared.disk.durable import hard_link, make_directory, sync_directory
from shared.disk.layout import (
    PARTIAL_SUFFIX,
    TEMPORARY_SUFFIX,
    DataDirectory,
    SegmentName,
    parse_kept_snapshot,
    parse_rotated,
)
from shared.disk.listing import list_files
from shared.erasures import pending_requests, progress_of
from shared.exit_codes import UsageError
from shared.generations.load import find_snapshot
from shared.generations.part_presence import missing_parts, referenced_parts
from shared.generations.snapshot import Snapshot
from shared.log import Log
from shared.segments.sealed import sealed_segments

SEAL_PATIENCE_S = 10.0
LOOKS = 5


class BackupRefused(UsageError):
    """There is no backup. Says why, and what to do next."""


class Backup(NamedTuple):
    """What a backup holds. `bytes` are those of its files: on disk they are shared with
    the data directory.
    """

    path: Path
    generation: int
    segments: int
    parts: int
    bytes: int


def backup(data: DataDirectory, destination: Path, log: Log) -> Backup:
    """Make a backup of everything that is acknowledged by now.

    Raises BackupRefused, RequestTimedOut when a writer does not seal, and CompactorBusy
    when a pass does not end.
    """
    check_destination(data, destination)
    recover_orphans(data, log)
    seal_and_wait(data, SEAL_PATIENCE_S)
    with compactor_lock(data, LOCK_TIMEOUT_S):
        _check_erasures(data)
        snapshots = _snapshots(data)
        with _partial(data, destination) as partial:
            _link_files(data, partial, snapshots)
            made = Backup(destination, snapshots[0].generation, *_sizes(partial))
    return made


def check_destination(data: DataDirectory, destination: Path) -> None:
    """Raises BackupRefused where no backup can be made."""
    parent, inside = destination.absolute().parent, data.root.resolve()
    if not parent.is_dir():
        raise BackupRefused(f"there is no directory {parent}; make it: mkdir -p {parent}")
    if os.path.lexists(destination):
        raise BackupRefused(f"{destination} exists already, and a backup replaces nothing; give another name")
    if parent.resolve().is_relative_to(inside):
        raise BackupRefused(
            f"{destination} is inside the data directory; give a name beside it, as {inside.parent / 'backup'}"
        )
    if parent.stat().st_dev != inside.stat().st_dev:
        raise _elsewhere(data, destination)


def _elsewhere(data: DataDirectory, destination: Path) -> BackupRefused:
    beside = data.root.resolve().with_name(destination.name)
    if beside.exists():
        beside = beside.with_name(f"backup-{beside.name}")
    return BackupRefused(
        f"{destination} is on another file system than {data.root}, and hard links do not reach there. Make the backup beside "
        f"the data directory, then copy that: foldlog backup {beside} && rsync -a {beside}/ {destination}/"
    )


def _check_erasures(data: DataDirectory) -> None:
    """Raises BackupRefused half-way through an erasure: the log may still hold a
    visitor whom the snapshot does not count.
    """
    if any(progress_of(data, request.request)[0] for request in pending_requests(data)):
        raise BackupRefused(
            "a visitor is being erased, and the backup might hold some of them still; wait until `foldlog status` shows no "
            "erasure as pending (`erasures_pending` is 0 in its JSON), and then run this again"
        )


def _snapshots(data: DataDirectory) -> list[Snapshot]:
    """The snapshot, and the kept ones whose parts are all there.

    Raises BackupRefused when it is damaged or not all that was counted, and
    SnapshotLost.
    """
    found = find_snapshot(data)
    if found.damage:
        raise BackupRefused(f"{found.damage}; run `foldlog compact --once`, if no compactor runs, and then this again")
    if missing := next(missing_parts(data, found.snapshot), None):
        raise BackupRefused(f"{missing} is not what {data.snapshot} names; run `foldlog rebuild`, and then this again")
    if later := next(later_parts(data, found.snapshot), None):
        why = f"{later} is of a later generation than {data.snapshot}, and may hold what nothing else does"
        raise BackupRefused(f"{why}; run `foldlog rebuild`, and then this again")
    return [found.snapshot, *(kept for kept in kept_snapshots(data) if not any(missing_parts(data, kept)))]


@contextmanager
def _partial(data: DataDirectory, destination: Path) -> Iterator[DataDirectory]:
    """A directory beside the destination, which becomes it when the block ends, and is
    gone when it fails.
    """
    path = destination.with_name(destination.name + PARTIAL_SUFFIX)
    _clear(path)
    partial = DataDirectory(path)
    try:
        for directory in (partial.root, partial.log, partial.archive, partial.counters, partial.quarantine):
            make_directory(directory)
        yield partial
        for directory in (Path(name) for name, _, _ in os.walk(path)):
            sync_directory(directory)
        path.rename(destination)
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        if error.errno == errno.EXDEV:
            raise _elsewhere(data, destination) from None
        raise
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    sync_directory(destination.absolute().parent)


def _clear(path: Path) -> None:
    """Remove what a backup left that was killed. Raises BackupRefused when that is
    something else.
    """
    partial = DataDirectory(path)
    ours = {partial.log, partial.archive, partial.counters, partial.quarantine, partial.snapshot, *partial.records()}
    strange = [each for each in list_files(path) if each not in ours and parse_kept_snapshot(each.name) is None]
    if strange or path.is_symlink():
        raise BackupRefused(f"{path} is in the way, and is no backup that was killed; remove it, or give another name")
    shutil.rmtree(path, ignore_errors=True)


def leftovers(destination: Path) -> list[Path]:
    """Backups beside this one that were killed before they were whole."""
    return [
        path
        for path in list_files(destination.absolute().parent)
        if path.name.endswith(PARTIAL_SUFFIX) and path.is_dir()
    ]


def _link_files(data: DataDirectory, partial: DataDirectory, snapshots: list[Snapshot]) -> None:
    current, *kept = snapshots
    for snapshot in snapshots:
        _link(data, partial, (data.part(kind, day, part.generation) for kind, day, part in referenced_parts(snapshot)))
    _link(data, partial, (data.kept_snapshot(snapshot.generation) for snapshot in kept))
    _link(data, partial, [data.snapshot] if current.generation else [])
    _link_log(data, partial)
    _link(data, partial, (path for path in list_files(data.quarantine) if not path.name.endswith(TEMPORARY_SUFFIX)))
    _link(data, partial, (path for path in data.records() if path.exists()))


def _link_log(data: DataDirectory, partial: DataDirectory) -> None:
    """All sealed segments, and strays: one whose writer was killed may be all there is
    of what it had acknowledged.

    One may be compressed or renamed meanwhile, and has another name then: look again.
    """
    linked: set[SegmentName] = set()
    for _ in range(LOOKS):
        try:
            for segment in sealed_segments(data):
                if segment.name not in linked:
                    _link(data, partial, [segment.path, *([segment.checksum] if segment.checksum.exists() else [])])
                    linked.add(segment.name)
            _link(data, partial, _strays(data))
            return
        except FileNotFoundError:
            continue
    raise BackupRefused("segments are being compressed or removed; try again when that is done")


def _strays(data: DataDirectory) -> Iterator[Path]:
    """Not adopted here: somebody may be at work on them. The restored directory adopts
    them (compactor/repair/rotated_files.py).
    """
    for path in list_files(data.log):
        if parse_rotated(path.name) is not None and path.is_file() and not path.is_symlink():
            yield path


def _link(data: DataDirectory, partial: DataDirectory, paths: Iterable[Path]) -> None:
    for path in paths:
        target = partial.root / path.relative_to(data.root)
        if not target.exists():
            make_directory(target.parent)
            hard_link(path, target)


def _sizes(partial: DataDirectory) -> tuple[int, int, int]:
    """Segments, parts, bytes."""
    files = [Path(folder) / name for folder, _, names in os.walk(partial.root) for name in names]
    parts = sum(path.parent.parent in (partial.archive, partial.counters) for path in files)
    return len(sealed_segments(partial)), parts, sum(path.stat().st_size for path in files)
