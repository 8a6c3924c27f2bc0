"""Share links as shares.json has them: who has one reads the reports of its site.

A link has an id, which stands in its address, and a secret of 192 bits behind the `#`,
of which the hash is kept. Sessions that the secret has opened are signed with a key of
the link, so that all workers know them and none is left once the link is gone.

Of a link that is revoked its id stays, with the time. So any two versions of the file,
of two hosts or from a backup, make one in which each link of either is valid that
neither has revoked, in whatever order they meet.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from shared.exit_codes import UsageError
from shared.host_names import SITE
from shared.named_filters import Name
from shared.timestamps import now_ms, rfc3339
from shared.tokens import digest

LINKS_MAX = 200
# Of the ids of revoked links the last ones are kept: some 190 KiB.
REVOKED_MAX = 4_000
EMBED_MAX = 20
FILE_MAX_BYTES = 1 << 20
_SECRET_BYTES, _KEY_BYTES = 24, 32

LINK_ID = re.compile(r"\A[0-9a-f]{8}\Z")
LinkId = Annotated[str, Meta(pattern=LINK_ID.pattern)]
Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
# Of a page that may frame the report: a host, perhaps with a port.
FRAMING_HOST = rf"^({SITE.pattern})(:[0-9]{{1,5}})?$(?!\n)"
FramingHost = Annotated[str, Meta(pattern=FRAMING_HOST, max_length=260)]


class ShareLink(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A link without its secret. `sha256`: of that; `key`: signs sessions, both in hex.
    `password`: as password.py makes it. `embed`: hosts whose pages may frame it.
    """

    id: LinkId
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


class RevokedLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left of a link. `revoked_ms`: UTC, as a host's clock said it."""

    id: LinkId
    revoked_ms: Annotated[int, Meta(ge=0, lt=1 << 53)]


class LinksFile(NamedTuple):
    """What shares.json holds: links, those that are revoked, other entries as they
    stand, and what is wrong with it (empty: nothing).
    """

    links: tuple[ShareLink, ...] = ()
    revoked: tuple[RevokedLink, ...] = ()
    bad: tuple[msgspec.Raw, ...] = ()
    damage: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether not even its entries can be told apart."""
        return bool(self.damage) and not self.bad

    def has(self, link_id: str) -> bool:
        """Whether there is something to revoke: perhaps a link that a newer version of
        Foldlog made, which this one cannot read.
        """
        return any(each.id == link_id for each in self.links) or link_id in map(_id_of, self.bad)

    def has_revoked(self, link_id: str) -> bool:
        return any(each.id == link_id for each in self.revoked)


class _Identified(msgspec.Struct, frozen=True):
    id: LinkId


class TooManyLinks(UsageError):
    """There are LINKS_MAX."""

    def __str__(self) -> str:
        return f"there are {LINKS_MAX} share links already; revoke one first"


class NoRoomForLinks(UsageError):
    """shares.json would become larger than it may be."""

    def __str__(self) -> str:
        return "shares.json is full: revoke a share link first"


_LINK = msgspec.json.Decoder(ShareLink)
_REVOKED = msgspec.json.Decoder(RevokedLink)
_IDENTIFIED = msgspec.json.Decoder(_Identified)
_ENTRIES = msgspec.json.Decoder(tuple[msgspec.Raw, ...])
_SEPARATOR = b",\n"
_NO_ENTRY = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def parse_links(content: bytes) -> LinksFile:
    """What the bytes of a shares.json hold. Raises nothing for what is wrong with
    them.
    """
    try:
        raw = _ENTRIES.decode(content)
    except _NO_ENTRY:
        return LinksFile(damage="is damaged")
    found = [_entry(each) for each in raw]
    revoked = tuple(each for each in found if isinstance(each, RevokedLink))
    gone = {each.id for each in revoked}
    links = tuple(each for each in found if isinstance(each, ShareLink) and each.id not in gone)
    bad = tuple(msgspec.Raw(bytes(each)) for each in found if isinstance(each, msgspec.Raw))
    damage = f"has {len(bad)} of {len(raw)} entries that are no share link" if bad else ""
    return LinksFile(links, revoked, bad, damage)


def _entry(raw: msgspec.Raw) -> ShareLink | RevokedLink | msgspec.Raw:
    for decoder in (_LINK, _REVOKED):
        try:
            return decoder.decode(raw)
        except _NO_ENTRY:
            continue
    return raw


def _id_of(raw: msgspec.Raw) -> str:
    """Of an entry that cannot be read; empty where it has none."""
    try:
        return _IDENTIFIED.decode(raw).id
    except _NO_ENTRY:
        return ""


def with_link(content: bytes, link: ShareLink) -> bytes:
    """A shares.json with one more link. Raises TooManyLinks and NoRoomForLinks."""
    found = parse_links(content)
    if len(found.links) + len(found.bad) >= LINKS_MAX:
        raise TooManyLinks
    larger = _content((*found.links, link), found.revoked, found.bad)
    if link not in parse_links(larger).links:
        raise NoRoomForLinks
    return larger


def without_link(content: bytes, link_id: str) -> bytes:
    """A shares.json in which the link of this id is revoked, also one that it does not
    have. This is the last one revoked, whatever the clock says: the first ones are
    forgotten before it.
    """
    found = parse_links(content)
    last_ms = max((now_ms(), *(each.revoked_ms + 1 for each in found.revoked)))
    return _content(found.links, (*found.revoked, RevokedLink(link_id, last_ms)), found.bad)


def merge_links(first: bytes, second: bytes) -> bytes:
    """A shares.json with the links of both but for those that either has revoked; of
    one id that of the first. The same bytes, whatever order entries had. What has no
    id of a link is one in no version of Foldlog, and is left out.
    """
    ours, theirs = parse_links(first), parse_links(second)
    bad = [each for each in (*ours.bad, *theirs.bad) if _id_of(each)]
    known = {each.id for each in ours.links}
    more = [each for each in theirs.links if each.id not in known]
    return _content((*ours.links, *more), (*ours.revoked, *theirs.revoked), bad)


def _content(links: Iterable[ShareLink], revoked: Iterable[RevokedLink], bad: Iterable[msgspec.Raw]) -> bytes:
    """What is revoked has room in any case, the others as far as there is some, the
    first ones first: a link that is left out opens nothing.
    """
    # The first time counts, where two hosts have revoked a link.
    gone = {each.id: each for each in sorted(revoked, key=_time, reverse=True)}
    kept = sorted(gone.values(), key=_time)[-REVOKED_MAX:]
    valid = {each.id: each for each in links if each.id not in gone}
    others = [each for each in bad if _id_of(each) not in gone]
    room = FILE_MAX_BYTES - len(_lines(kept)) - len(_lines([]))
    return _lines([*sorted(_fitting([*valid.values(), *others], room), key=_place), *kept])


def _time(each: RevokedLink) -> tuple[int, str]:
    return each.revoked_ms, each.id


def _place(entry: ShareLink | msgspec.Raw) -> tuple[bool, str, bytes]:
    """Where an entry stands, so that the same ones are the same bytes."""
    if isinstance(entry, ShareLink):
        return False, entry.created, entry.id.encode("ascii")
    return True, "", bytes(entry)


def _fitting(entries: Iterable[ShareLink | msgspec.Raw], room: int) -> Iterator[ShareLink | msgspec.Raw]:
    """Those that take no more than `room` bytes. An entry that is there twice counts
    once.
    """
    for line, entry in {msgspec.json.encode(each): each for each in entries}.items():
        room -= len(line) + len(_SEPARATOR)
        if room >= 0:
            yield entry


def _lines(entries: Iterable[ShareLink | RevokedLink | msgspec.Raw]) -> bytes:
    return b"[\n" + _SEPARATOR.join(map(msgspec.json.encode, entries)) + b"\n]\n"


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


def shown_time(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def time_of(text: str) -> int:
    """UTC milliseconds of an instant with a zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return round(moment.astimezone(UTC).timestamp() * 1000)
