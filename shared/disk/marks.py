"""The mark: the modification time of a file in `run/` says when the last pass, and its
retention run, was.

A pass that found nothing publishes no snapshot, so the snapshot's age says nothing
about the compactor. A mark costs no sync, and its file system one block every time that
it writes: one that is lost is replaced by the time in the snapshot, which is earlier.
"""

from __future__ import annotations

import os
from pathlib import Path

from shared.disk.durable import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, make_directory
from shared.disk.layout import DataDirectory

_NS_PER_MS = 1_000_000


def read_mark(path: Path) -> int | None:
    """The time of a mark in UTC milliseconds; None if there is none, or if this user
    may not see it.
    """
    try:
        return path.stat().st_mtime_ns // _NS_PER_MS
    except OSError:
        return None


def set_mark(path: Path, at_ms: int) -> None:
    """Set a mark to a time, which is that of the clock that the pass has read."""
    times = (at_ms * _NS_PER_MS, at_ms * _NS_PER_MS)
    try:
        os.utime(path, ns=times)
    except FileNotFoundError:
        make_directory(path.parent, PRIVATE_DIRECTORY_MODE)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PRIVATE_MODE))
        os.utime(path, ns=times)


def fold_request_stamp(data: DataDirectory) -> str:
    """What tells this request to fold from an earlier or a later one; empty if there
    was none.
    """
    try:
        found = data.fold_request.stat()
    except FileNotFoundError:
        return ""
    return f"{found.st_ino} {found.st_mtime_ns}"


def answered_fold_request(data: DataDirectory) -> str | None:
    """The stamp of the last request that passes have answered; empty if none, None if
    that is unknown.
    """
    try:
        return data.last_pass.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return None


def answer_fold_request(data: DataDirectory, stamp: str) -> None:
    """Note in the mark of the last pass that the request with this stamp is answered.
    The caller holds the compactor's lock, and has set the mark.
    """
    if answered_fold_request(data) == stamp:
        return
    at_ms = read_mark(data.last_pass)
    descriptor = os.open(data.last_pass, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_MODE)
    with open(descriptor, "wb") as file:
        file.write(stamp.encode("ascii"))
    if at_ms is not None:
        set_mark(data.last_pass, at_ms)
