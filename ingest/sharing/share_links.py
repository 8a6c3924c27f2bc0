"""Share links of all hosts of a PostgreSQL store: what any of them has made opens on
all, and what any has revoked opens on none.

Any two versions of shares.json make one (ingest/share_links/links.py). So a host
exchanges its own with that of the store, with no lock of its file while it waits and no
note of what both had in common: a link is revoked here at once, whatever the store
does, and a host that is killed, restored or away meets the others as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from ingest.share_links.links import LINK_ID, ShareLink, merge_links, with_link
from ingest.share_links.links_file import (
    links_content,
    merge_into_links,
    read_links,
    revoke_link,
    revoke_unknown_link,
)
from ingest.sharing.document_rows import FETCH_S, change, connected_to, hold, peek
from shared.disk.durable import remove
from shared.disk.layout import DataDirectory
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.postgres.connection import DriverMissing

if TYPE_CHECKING:
    from psycopg import Connection

NAME = "shares"
NO_ANSWER = (StoreUnavailable, StoreRefused, DriverMissing)


class SharedLinks:
    """`store`: the address of a PostgreSQL store."""

    failing = "store_shares_failed"
    working = "store_shares_shared"

    def __init__(self, data: DataDirectory, store: str) -> None:
        self._data, self._store = data, store

    def turn(self) -> bool:
        """Take what others changed, and publish what was changed here."""
        with connected_to(self._store) as connection:
            if not self._is_settled(connection):
                self._exchange(connection)
        return True

    def pause_s(self) -> float:
        return FETCH_S

    def failed(self) -> None:
        return

    def add(self, link: ShareLink) -> None:
        """Keep a link on all hosts, or on none. Raises StoreUnavailable, StoreRefused,
        DriverMissing, TooManyLinks, NoRoomForLinks and LinksBusy.
        """
        with connected_to(self._store) as connection:
            self._exchange(connection, partial(with_link, link=link))

    def revoke(self, link_id: str) -> bool:
        """Revoke a link on this host now, and in the store with the next turn that it
        answers. False if there is none with that id. While the store is down, a link
        that this host does not know may be one of another host, and is revoked, too.
        Raises LinksBusy.
        """
        if revoke_link(self._data, link_id):
            return True
        if not LINK_ID.fullmatch(link_id):
            return False
        try:
            self.turn()
        except NO_ANSWER:
            return revoke_unknown_link(self._data, link_id)
        return revoke_link(self._data, link_id)

    def _is_settled(self, connection: Connection) -> bool:
        """Whether file and store are of one version, without a lock."""
        held, local = peek(connection, NAME), links_content(self._data)
        if held is None or not local:
            return held is None and not local
        return held.sha256 == sha256(local).hexdigest()

    def _exchange(self, connection: Connection, changed: Callable[[bytes], bytes] = bytes) -> None:
        """Publish what is `changed` of the newest version, then take that here."""
        with connection.transaction():
            number, held = hold(connection, NAME)
            newest = changed(merge_links(held, links_content(self._data)))
            if newest != held:
                change(connection, NAME, number + 1, newest)
        before = {each.id for each in read_links(self._data).links}
        merge_into_links(self._data, newest)
        gone = before - {each.id for each in read_links(self._data).links}
        remove(map(self._data.last_use, gone))
