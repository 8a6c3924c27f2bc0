"""private/shares.json. Changes are made one at a time, under a lock that no process
holds while it waits for anything but the disk, and published by rename. An entry that
is none is not valid, and stays in the file beside the others.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ingest.share_links.links import (
    FILE_MAX_BYTES,
    LinksFile,
    ShareLink,
    merge_links,
    parse_links,
    with_link,
    without_link,
)
from shared.disk.bounded_read import read_bounded
from shared.disk.durable import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, make_directory, move, publish
from shared.disk.layout import DataDirectory
from shared.disk.locks import held
from shared.exit_codes import TemporaryFailure

LOCK_TIMEOUT_S = 5.0


class LinksBusy(TemporaryFailure):
    """Another process keeps the lock."""

    def __str__(self) -> str:
        return f"another process has been changing share links for {LOCK_TIMEOUT_S:g} s; try again"


def read_links(data: DataDirectory) -> LinksFile:
    """What shares.json holds. Raises nothing for what is wrong with it."""
    try:
        content = read_bounded(data.shares, FILE_MAX_BYTES)
    except OSError as error:
        return LinksFile(damage=f"cannot be read ({error.strerror or error})")
    return LinksFile() if content is None else parse_links(content)


def links_content(data: DataDirectory) -> bytes:
    """The bytes of shares.json; none where nothing can be read of them."""
    try:
        content = read_bounded(data.shares, FILE_MAX_BYTES) or b""
    except OSError:
        return b""
    return b"" if parse_links(content).is_lost else content


def add_link(data: DataDirectory, link: ShareLink) -> None:
    """Keep a link. A file that cannot be read is kept under another name. Raises
    TooManyLinks, NoRoomForLinks and LinksBusy.
    """
    with _changing(data) as (content, save):
        save(with_link(content, link))


def revoke_link(data: DataDirectory, link_id: str) -> bool:
    """Revoke a link. False if there is none with that id. Raises LinksBusy."""
    with _changing(data) as (content, save):
        is_there = parse_links(content).has(link_id)
        if is_there:
            save(without_link(content, link_id))
        return is_there


def revoke_unknown_link(data: DataDirectory, link_id: str) -> bool:
    """Revoke a link that this host may not know yet. False if it is revoked already.
    Raises LinksBusy.
    """
    with _changing(data) as (content, save):
        is_revoked = parse_links(content).has_revoked(link_id)
        if not is_revoked:
            save(without_link(content, link_id))
        return not is_revoked


def merge_into_links(data: DataDirectory, content: bytes) -> None:
    """Take the links of another shares.json, and what it says is revoked. Raises
    LinksBusy.
    """
    with _changing(data) as (local, save):
        merged = merge_links(content, local)
        if merged != local:
            save(merged)


@contextmanager
def _changing(data: DataDirectory) -> Iterator[tuple[bytes, Callable[[bytes], None]]]:
    """The bytes of the file, and what saves others in their place."""
    make_directory(data.private, PRIVATE_DIRECTORY_MODE)
    with held(data.shares_lock, LOCK_TIMEOUT_S, LinksBusy):
        content = links_content(data)

        def save(changed: bytes) -> None:
            if not content and (data.shares.is_symlink() or data.shares.exists()):
                move(data.shares, data.damaged_shares(secrets.token_hex(4)))
            publish(data.shares, changed, PRIVATE_MODE)

        yield content, save
