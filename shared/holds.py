"""Retention holds that an administrator has confirmed over HTTP, as
`foldlog retain --confirm` does at a terminal. compactor/retention/ carries them out.

A worker neither deletes nor takes the compactor's lock: it publishes a small file in
private/ whose name says exactly which hold was seen. The next pass deletes nothing
beyond that (P9), and removes the file once the generation without the days is
published and what had to be deleted is gone. So wherever a pass is killed, the
deletion is done or still confirmed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from shared.disk.durable import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, make_directory, publish, remove
from shared.disk.layout import ConfirmedHold, DataDirectory, parse_confirmed_hold
from shared.disk.listing import list_files, temp_files
from shared.generations.snapshot import RetentionHold
from shared.timestamps import now_ms, rfc3339

# A file is written in milliseconds, so an older temporary one is of a killed process.
TEMP_FILE_MAX_AGE_S = 60.0


def confirm_hold(data: DataDirectory, hold: ConfirmedHold) -> None:
    """Publish durably that a hold is confirmed; nothing if it is already. The next pass
    carries it out. Raises OSError.
    """
    path = data.confirmed_hold(hold)
    if path.exists():
        return
    make_directory(data.private, PRIVATE_DIRECTORY_MODE)
    said = {"kind": hold.kind, "first": hold.first, "last": hold.last, "days": hold.days}
    publish(path, msgspec.json.encode(said | {"asked_at": rfc3339(now_ms())}) + b"\n", PRIVATE_MODE)


def confirmed_holds(data: DataDirectory) -> list[ConfirmedHold]:
    """Those that no pass has settled yet; none for a user without access to
    private/.
    """
    try:
        files = list_files(data.private)
    except PermissionError:
        return []
    return sorted(hold for path in files if (hold := parse_confirmed_hold(path.name)) is not None)


def confirmed_kinds(data: DataDirectory, on_hold: Mapping[str, RetentionHold]) -> list[str]:
    """The kinds whose deletion on hold is confirmed, and waits for the next pass."""
    if not on_hold:
        return []
    confirmed = confirmed_holds(data)
    return [
        kind
        for kind, hold in on_hold.items()
        if any(each.covers(kind, hold.first, hold.last, hold.days) for each in confirmed)
    ]


def forget_confirmed(data: DataDirectory, holds: Iterable[ConfirmedHold]) -> None:
    """Delete confirmations that are settled."""
    remove([data.confirmed_hold(hold) for hold in holds])


def temp_confirmations(data: DataDirectory) -> Iterator[Path]:
    """Temporary files of processes that were killed before they published one."""
    return temp_files(data.private, lambda target: parse_confirmed_hold(target) is not None, TEMP_FILE_MAX_AGE_S)
