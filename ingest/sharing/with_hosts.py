"""What a worker shares with the other hosts of its store: the salt of the day, tokens,
documents that people keep, and share links.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from ingest.sharing.documents import Document, SharedDocuments
from ingest.sharing.salt import SharedSalt
from ingest.sharing.share_links import SharedLinks
from ingest.sharing.tokens import SharedTokens
from ingest.sharing.turns import Turns
from shared.annotations import annotations_file
from shared.disk.layout import DataDirectory
from shared.kept_entries import KeptFile
from shared.log import Log
from shared.named_filters import named_filters_file
from shared.settings import Settings

# How long the first requests wait for the salt of the day, if this host has none: one
# of its own would be in use until midnight.
FIRST_SALT_S = 5.0


class Sharing:
    """A thread for each, so that one that is slow does not keep the others waiting."""

    def __init__(self, data: DataDirectory, settings: Settings, log: Log, now_ms: Callable[[], int]) -> None:
        store = settings.hosts_database
        self.goals = goals_document(data)
        self.annotations = annotations_document(data)
        self.documents = SharedDocuments(data, store, [self.goals, self.annotations])
        self.links = SharedLinks(data, store)
        self.turns_of_links = Turns(self.links, log)
        self._salt = SharedSalt(data, settings, log, now_ms)
        others = (self._salt, SharedTokens(data, store), self.documents)
        self._turns = [*(Turns(each, log) for each in others), self.turns_of_links]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask the store while the block runs, which begins with the salt of today if
        that comes in time.
        """
        for each in self._turns:
            each.start()
        await asyncio.to_thread(self._salt.first_turn.wait, FIRST_SALT_S)
        try:
            yield
        finally:
            for each in self._turns:
                each.stop()


def goals_document(data: DataDirectory) -> Document:
    """goals.json."""
    return _document("goals", named_filters_file(data))


def annotations_document(data: DataDirectory) -> Document:
    """annotations.json."""
    return _document("annotations", annotations_file(data))


def _document(name: str, file: KeptFile[Any]) -> Document:
    return Document(
        name=name,
        path=file.path,
        lock=file.lock,
        is_lost=lambda content: file.of.parse(content).is_lost,
        set_aside=file.set_aside,
        merged=file.of.merge,
    )
