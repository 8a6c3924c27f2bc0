"""What every command that writes to the data directory looks at first, before it
changes anything.

Files of a newer Foldlog are not touched: what this one does not know of it could drop.
A network file system is not written to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from foldlog.doctor.file_systems import refuse_network
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.generations.load import kept_generations
from shared.generations.snapshot import Snapshot, SnapshotDamaged, decode_snapshot
from shared.segments.line import LINE_MAX_BYTES, DataFromNewerVersion, line_error, newer_line
from shared.segments.sealed import Segment, active_segments, open_segment, sealed_segments
from shared.settings import SettingsError


def check_start(data: DataDirectory) -> None:
    """Raises NetworkFileSystem and DataFromNewerVersion, whose messages say what to do.
    Reads little, and changes nothing.
    """
    refuse_network(data)
    check_formats(data)


def check_formats(data: DataDirectory) -> None:
    """Raises DataFromNewerVersion when a newer Foldlog made something here.

    Of the log it reads the first line of each active segment, of each that is not
    folded, and of each writer's newest: a writer begins a segment, so all lines in one
    are of the same version.
    """
    snapshot = _newest_snapshot(data)
    for path in (*active_segments(data).values(), *(segment.path for segment in _to_look_at(data, snapshot))):
        _check_first_line(path)


def _newest_snapshot(data: DataDirectory) -> Snapshot:
    """The published snapshot or the newest kept one that is whole. Raises
    DataFromNewerVersion if any of them is newer.
    """
    found: list[Snapshot] = []
    for path in (data.snapshot, *(data.kept_snapshot(generation) for generation in kept_generations(data))):
        try:
            found.append(decode_snapshot(path.read_bytes(), path))
        except (OSError, SnapshotDamaged):
            continue  # whoever reads it says so, and knows what takes its place
    return found[0] if found else Snapshot()


def _to_look_at(data: DataDirectory, snapshot: Snapshot) -> Iterable[Segment]:
    sealed = sealed_segments(data)
    newest = {segment.name.writer: segment for segment in sealed}  # they are in the order of their sequence
    unfolded = [segment for segment in sealed if not snapshot.has_folded(segment.name)]
    return [*unfolded, *newest.values()]


def _check_first_line(path: Path) -> None:
    try:
        with open_segment(path) as file:
            line_error(
                file.readline(LINE_MAX_BYTES)
            )  # one that is damaged is nobody's version: the fold looks at it line by line
    except DataFromNewerVersion as error:
        raise newer_line(error.found, os.fspath(path)) from None
    except (OSError, EOFError):
        return


def require_data_dir(data: DataDirectory) -> DataDirectory:
    """The same directory. Raises SettingsError where there is none yet."""
    if not data.log.is_dir():
        raise SettingsError(
            f"{data.root} is no data directory of Foldlog; set FOLDLOG_DATA_DIR, or start `foldlog serve`"
        )
    return data


def ensure_data_dir(data: DataDirectory) -> DataDirectory:
    """The same directory, made if it does not exist. A new one is announced: an
    operator in the wrong place would otherwise see nothing but success.
    """
    is_new = not data.log.is_dir()
    make_data_directory(data)
    if is_new:
        where = f"{data.root.resolve()} is a new data directory"
        print(f"foldlog: {where}; for another one set FOLDLOG_DATA_DIR", file=sys.stderr)
    return data
