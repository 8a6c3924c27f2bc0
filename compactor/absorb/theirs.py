"""What is absorbed."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from shared.disk.layout import DataDirectory
from shared.generations.snapshot import Snapshot


class Theirs(NamedTuple):
    """The published generation of a retired instance, and where its parts are."""

    instance: UUID
    data: DataDirectory
    snapshot: Snapshot
