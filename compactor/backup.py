"""`foldlog backup DEST`: a consistent copy of a data directory, made of hard links.

It contains every event that was acknowledged before it started: the writers seal first.
Everything else happens under the compactor's lock, so that the snapshot, its parts and
the log match. Linked files are only ever replaced or deleted, never written to (P4,
P5), so later changes of the data directory do not affect the backup.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from compactor.backup_checks import (
    BackupRefused,
    check_destination,
    check_erasures,
    check_snapshots,
    other_file_system,
)
from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from compactor.run_pass import recover_abandoned_segments
from shared.disk.control_files import SEAL_TIMEOUT_S, seal_and_wait
from shared.disk.durable import hard_link, make_directory, sync_directory
from shared.disk.layout import (
    PARTIAL_SUFFIX,
    TEMP_SUFFIX,
    DataDirectory,
    SegmentName,
    parse_kept_snapshot,
    parse_rotated,
)
from shared.disk.listing import list_files
from shared.generations.part_presence import referenced_parts
from shared.generations.snapshot import Snapshot
from shared.log import Log
from shared.segments.sealed import sealed_segments

# How often the log is listed again because a segment was compressed or renamed
# meanwhile.
LINK_ATTEMPTS = 5


class Backup(NamedTuple):
    """What a backup contains. `bytes` are those of its files, whose disk space is
    shared with the data directory.
    """

    path: Path
    generation: int
    segments: int
    parts: int
    bytes: int


def backup(data: DataDirectory, destination: Path, log: Log) -> Backup:
    """Back up every event that is acknowledged by now.

    Raises BackupRefused, RequestTimedOut if a writer does not seal, and CompactorBusy.
    """
    check_destination(data, destination)
    recover_abandoned_segments(data, log)
    seal_and_wait(data, SEAL_TIMEOUT_S)
    with compactor_lock(data, LOCK_TIMEOUT_S):
        check_erasures(data)
        snapshots = check_snapshots(data)
        with _partial_directory(data, destination) as partial:
            _link_files(data, partial, snapshots)
            return Backup(destination, snapshots[0].generation, *_sizes(partial))


@contextmanager
def _partial_directory(data: DataDirectory, destination: Path) -> Iterator[DataDirectory]:
    """A directory beside the destination. It is renamed to it when the block ends, and
    deleted when the block fails.
    """
    path = destination.with_name(destination.name + PARTIAL_SUFFIX)
    _delete_leftover(path)
    partial = DataDirectory(path)
    try:
        for directory in (partial.root, partial.log, *partial.part_folders, partial.quarantine):
            make_directory(directory)
        yield partial
        for directory in (Path(name) for name, _, _ in os.walk(path)):
            sync_directory(directory)
        path.rename(destination)
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        if error.errno == errno.EXDEV:
            raise other_file_system(data, destination) from None
        raise
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    sync_directory(destination.absolute().parent)


def _delete_leftover(path: Path) -> None:
    """Delete the partial directory of a killed backup. Raises BackupRefused if it has
    foreign files.
    """
    partial = DataDirectory(path)
    own = {
        partial.log,
        *partial.part_folders,
        partial.quarantine,
        partial.snapshot,
        *partial.record_files(),
    }
    foreign = [each for each in list_files(path) if each not in own and parse_kept_snapshot(each.name) is None]
    if foreign or path.is_symlink():
        message = f"{path} is in the way, and is not a killed backup; remove it, or choose another name"
        raise BackupRefused("leftover_in_the_way", path, message)
    shutil.rmtree(path, ignore_errors=True)


def leftover_backups(destination: Path) -> list[Path]:
    """Partial directories of killed backups beside this one."""
    beside = list_files(destination.absolute().parent)
    return [path for path in beside if path.name.endswith(PARTIAL_SUFFIX) and path.is_dir()]


def _link_files(data: DataDirectory, partial: DataDirectory, snapshots: list[Snapshot]) -> None:
    current, *kept = snapshots
    for snapshot in snapshots:
        _link(data, partial, (part.path(data) for part in referenced_parts(snapshot)))
    _link(data, partial, (data.kept_snapshot(snapshot.generation) for snapshot in kept))
    _link(data, partial, [data.snapshot] if current.generation else [])
    _link_log(data, partial)
    _link(data, partial, (path for path in list_files(data.quarantine) if not path.name.endswith(TEMP_SUFFIX)))
    _link(data, partial, (path for path in data.record_files() if path.is_file()))


def _link_log(data: DataDirectory, partial: DataDirectory) -> None:
    """All sealed segments, and rotated files, each of which may be the only copy of
    what a killed writer had acknowledged.

    A file that is compressed or renamed meanwhile has another name, so the log is
    listed again.
    """
    linked: set[SegmentName] = set()
    for _ in range(LINK_ATTEMPTS):
        try:
            for segment in sealed_segments(data):
                if segment.name not in linked:
                    _link(data, partial, [segment.path, *([segment.checksum] if segment.checksum.exists() else [])])
                    linked.add(segment.name)
            _link(data, partial, _rotated_files(data))
            return
        except FileNotFoundError:
            continue
    message = "segments are being compressed or removed; run this again when that is done"
    raise BackupRefused("log_changing", data.log, message)


def _rotated_files(data: DataDirectory) -> Iterator[Path]:
    """They are linked as they are: another process may be writing to them. The restored
    directory recovers them (compactor/repair/rotated_files.py).
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
    parts = sum(path.parent.parent in partial.part_folders for path in files)
    return len(sealed_segments(partial)), parts, sum(path.stat().st_size for path in files)
