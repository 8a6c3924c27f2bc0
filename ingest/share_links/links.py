"""Share links in private/shares.json: who has one reads the reports of its site.

A link has an id, which stands in its address, and a secret of 192 bits behind the `#`,
of which the hash is kept. Sessions that the secret has opened are signed with a key of
the link, so that all workers know them and none is left once the link is gone. Changes
are made one at a time, under a lock, and published by rename. An entry that is none is
not valid, and stays in the file beside the others.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from shared.disk.bounded_read import read_bounded
from shared.disk.durable import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, make_directory, move, publish
from shared.disk.layout import DataDirectory
from shared.disk.locks import held
from shared.exit_codes import TemporaryFailure, UsageError
from shared.host_names import SITE
from shared.named_filters import Name
from shared.timestamps import now_ms, rfc3339
from shared.tokens import digest

LINKS_MAX = 200
EMBED_MAX = 20
FILE_MAX_BYTES = 1 << 20
LOCK_TIMEOUT_S = 5.0
_SECRET_BYTES, _KEY_BYTES = 24, 32

Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
# Of a page that may frame the report: a host, perhaps with a port.
FRAMING_HOST = rf"^({SITE.pattern})(:[0-9]{{1,5}})?$(?!\n)"
FramingHost = Annotated[str, Meta(pattern=FRAMING_HOST, max_length=260)]


class ShareLink(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A link without its secret. `sha256`: of that; `key`: signs sessions, both in hex.
    `password`: as password.py makes it. `embed`: hosts whose pages may frame it.
    """

    id: Annotated[str, Meta(pattern=r"\A[0-9a-f]{8}\Z")]
    site: str
    name: Name
    sha256: Hash
    key: Hash
    created: str
    expires_ms: int | None = None
    password: str | None = None
    embed: tuple[FramingHost, ...] = ()

    def has_expired(self, at_ms: int) -> bool:
        return self.expires_ms is not None and at_ms >= self.expires_ms

    def has_secret(self, secret: str) -> bool:
        """Compared in constant time."""
        return hmac.compare_digest(digest(secret).hex(), self.sha256)


class LinksFile(NamedTuple):
    """What shares.json holds: links, other entries as they stand, and what is wrong
    with it (empty: nothing).
    """

    links: tuple[ShareLink, ...] = ()
    bad: tuple[msgspec.Raw, ...] = ()
    damage: str = ""


class TooManyLinks(UsageError):
    """There are LINKS_MAX."""

    def __str__(self) -> str:
        return f"there are {LINKS_MAX} share links already; revoke one first"


class LinksBusy(TemporaryFailure):
    """Another process keeps the lock."""

    def __str__(self) -> str:
        return f"another process has been changing share links for {LOCK_TIMEOUT_S:g} s; try again"


_LINK = msgspec.json.Decoder(ShareLink)
_ENTRIES = msgspec.json.Decoder(tuple[msgspec.Raw, ...])


def read_links(data: DataDirectory) -> LinksFile:
    """What shares.json holds. Raises nothing for what is wrong with it."""
    try:
        content = read_bounded(data.shares, FILE_MAX_BYTES)
        raw = _ENTRIES.decode(content) if content is not None else ()
    except OSError as error:
        return LinksFile(damage=f"cannot be read ({error.strerror or error})")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return LinksFile(damage="is damaged")
    found = [(_link(each), each) for each in raw]
    links = tuple(link for link, _ in found if link is not None)
    bad = tuple(msgspec.Raw(bytes(each)) for link, each in found if link is None)
    return LinksFile(links, bad, f"has {len(bad)} of {len(found)} entries that are no share link" if bad else "")


def _link(entry: msgspec.Raw) -> ShareLink | None:
    try:
        return _LINK.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def new_link(
    site: str, name: str, expires_ms: int | None = None, password: str | None = None, embed: tuple[str, ...] = ()
) -> tuple[ShareLink, str]:
    """A link that is nowhere yet, and its secret."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    link = ShareLink(
        id=secrets.token_hex(4),
        site=site,
        name=name,
        sha256=digest(secret).hex(),
        key=secrets.token_hex(_KEY_BYTES),
        created=rfc3339(now_ms()),
        expires_ms=expires_ms,
        password=password,
        embed=embed,
    )
    return link, secret


def add_link(data: DataDirectory, link: ShareLink) -> None:
    """Keep a link. A file that cannot be read is kept under another name. Raises
    TooManyLinks and LinksBusy.
    """
    make_directory(data.private, PRIVATE_DIRECTORY_MODE)
    with held(data.shares_lock, LOCK_TIMEOUT_S, LinksBusy):
        found = read_links(data)
        if len(found.links) + len(found.bad) >= LINKS_MAX:
            raise TooManyLinks
        if found.damage and not found.bad:
            move(data.shares, data.damaged_shares(secrets.token_hex(4)))
        _save(data, (*found.links, link), found.bad)


def revoke_link(data: DataDirectory, link_id: str) -> bool:
    """Delete a link. False if there is none with that id. Raises LinksBusy."""
    make_directory(data.private, PRIVATE_DIRECTORY_MODE)
    with held(data.shares_lock, LOCK_TIMEOUT_S, LinksBusy):
        found = read_links(data)
        left = tuple(each for each in found.links if each.id != link_id)
        if len(left) == len(found.links):
            return False
        _save(data, left, found.bad)
    return True


def _save(data: DataDirectory, links: tuple[ShareLink, ...], bad: tuple[msgspec.Raw, ...]) -> None:
    publish(data.shares, msgspec.json.encode((*links, *bad)) + b"\n", PRIVATE_MODE)


def shown_time(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def time_of(text: str) -> int:
    """UTC milliseconds of an instant with a zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return round(moment.astimezone(UTC).timestamp() * 1000)
