"""What is checked before a command writes to a data directory; nothing is changed.

Files of a newer Foldlog are not touched, because this version could drop fields that it
does not know. Nothing is written to a network file system.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from foldlog.doctor.file_systems import reject_network
from foldlog.users import as_user, me, user_name
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageError
from shared.generations.load import kept_generations
from shared.generations.snapshot import Snapshot, SnapshotDamaged, decode_snapshot
from shared.segments.line import LINE_MAX_BYTES, DataFromNewerVersion, line_error, newer_line
from shared.segments.sealed import Segment, active_segments, open_segment, sealed_segments
from shared.settings import SettingsError


def check_start(data: DataDirectory) -> None:
    """Raises NetworkFileSystem or DataFromNewerVersion."""
    reject_network(data)
    check_formats(data)


def check_formats(data: DataDirectory) -> None:
    """Raises DataFromNewerVersion when a newer Foldlog wrote a file here.

    Reads the first line of each active and each unfolded segment, and of the newest one
    of each writer. One line is enough, because all lines of a segment are of one
    version.
    """
    snapshot = _newest_snapshot(data)
    for path in (*active_segments(data).values(), *(segment.path for segment in _segments_to_check(data, snapshot))):
        _check_first_line(path)


def _newest_snapshot(data: DataDirectory) -> Snapshot:
    """The published snapshot, or the newest kept one that is whole; an empty one if
    there is none. Raises DataFromNewerVersion if any of them is newer.
    """
    found: list[Snapshot] = []
    for path in (data.snapshot, *(data.kept_snapshot(generation) for generation in kept_generations(data))):
        try:
            found.append(decode_snapshot(path.read_bytes(), path))
        except (OSError, SnapshotDamaged):
            continue  # the reader of the snapshot reports it, and knows the replacement
    return found[0] if found else Snapshot()


def _segments_to_check(data: DataDirectory, snapshot: Snapshot) -> Iterable[Segment]:
    sealed = sealed_segments(data)
    newest = {segment.name.writer: segment for segment in sealed}  # listed in the order of their sequence
    unfolded = [segment for segment in sealed if not snapshot.has_passed(segment.name)]
    return [*unfolded, *newest.values()]


def _check_first_line(path: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):
        return  # a pipe would be waited for; what follows says what it is
    try:
        with open_segment(path) as file:
            line_error(file.readline(LINE_MAX_BYTES))  # other errors of the line are left to the fold
    except DataFromNewerVersion as error:
        raise newer_line(error.found, str(path)) from None
    except (OSError, EOFError):
        return


def require_data_dir(data: DataDirectory) -> DataDirectory:
    """The same directory. Raises SettingsError if it does not exist yet."""
    if not data.log.is_dir():
        raise SettingsError(
            f"{data.root} is not a data directory of Foldlog; set FOLDLOG_DATA_DIR, or start `foldlog serve`"
        )
    return data


def ensure_data_dir(data: DataDirectory) -> DataDirectory:
    """The same directory, created if it does not exist. Creation is announced: an
    operator in the wrong place would otherwise see nothing but success.
    """
    is_new = not data.log.is_dir()
    make_data_directory(data)
    if is_new:
        text = f"created the data directory {data.root.resolve()}; to use another one, set FOLDLOG_DATA_DIR"
        print(f"foldlog: {text}", file=sys.stderr)
    return data


def check_user(data: DataDirectory, command: str, *, creates: bool) -> None:
    """Raises WrongUser when this user would write files that the owner of the directory
    could not replace: a file of root in it ends all folding.

    The owner is who made `log/`, because a container may mount a folder of another
    user. Before that it is the owner of the folder, unless the command may create the
    directory (`creates`).
    """
    try:
        made = data.log.stat() if data.log.is_dir() else None if creates else data.root.stat()
    except OSError:
        return  # the command says what is wrong with the directory
    if made is not None and made.st_uid != os.geteuid():
        owner = user_name(made.st_uid)
        raise WrongUser(
            f"{data.root} belongs to {owner}, and you are {me()}: the service could not use what you write there. "
            f"Type: {as_user(owner)} foldlog {command} …"
        )


class WrongUser(UsageError):
    """Another user owns the data directory."""
