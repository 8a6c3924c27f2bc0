"""Parts of counters that questions ask for together, in one file: to open the parts of
a month of three hosts takes longer than to sum them.

A pack has the same rows, belongs to one reader process, and is named by the sha256 of
its parts: when a host publishes other ones, it is not found, and deleted. Days that
still change often are left out.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from reports.plan import PartOfDay, Parts
from reports.sql.duckdb.packs import pack_statement
from shared.duckdb_engine import connect, database_error, limit_spill
from shared.generations.checked_parts import TRUSTED_S

# Events of these days may still come, and each that does makes another part.
CHANGING_DAYS = 4
PARTS_MIN = 12
# Beyond that, opening the parts costs little beside reading them.
BYTES_MAX = 16 << 20
PACKS_MAX = 4
_MEMORY_BYTES = 64 << 20
_SPILL_BYTES = 256 << 20


class _Pack(NamedTuple):
    """`path` is None until the same parts are asked for again."""

    parts: frozenset[str]
    path: Path | None
    made: float


class PartPacks:
    """Makes its files in `directory`, where the disk `has_room` for their bytes."""

    def __init__(self, directory: Path, has_room: Callable[[int], bool]) -> None:
        self._directory = directory
        self._has_room = has_room
        self._packs: OrderedDict[str, _Pack] = OrderedDict()

    def open(self, parts: Parts, open_parts: Callable[[Sequence[PartOfDay]], list[str]]) -> list[str]:
        """Paths of files with the rows of the parts; `open_parts` has those of the
        parts themselves.
        """
        packed = _packable(parts)
        if not packed:
            return open_parts(parts)
        names = frozenset(each.part.sha256 for each in packed)
        key = hashlib.sha256("".join(sorted(names)).encode()).hexdigest()
        pack = self._packs.get(key)
        if pack is None or time.monotonic() - pack.made > TRUSTED_S:
            self._keep(key, _Pack(names, None, time.monotonic()))
            return open_parts(parts)
        if pack.path is None:
            pack = pack._replace(path=self._make(key, open_parts(packed)))
        self._keep(key, pack)
        if pack.path is None:
            return open_parts(parts)
        left = set(packed)
        return [str(pack.path), *open_parts([each for each in parts if each not in left])]

    def drop(self, referenced: Collection[str]) -> None:
        """Delete packs of a part that no host has any more."""
        for key in [key for key, pack in self._packs.items() if not pack.parts <= set(referenced)]:
            self._delete(key)

    def _make(self, key: str, paths: Sequence[str]) -> Path | None:
        """None where there is no room: the parts answer as well."""
        if not self._has_room(BYTES_MAX + _SPILL_BYTES):
            return None
        self._directory.mkdir(exist_ok=True)
        path = self._directory / f"{key}.parquet"
        try:
            with closing(connect(_MEMORY_BYTES, 1, self._directory)) as database:
                limit_spill(database, _SPILL_BYTES)
                database.execute(pack_statement(str(path)), {"paths": list(paths)})
        except database_error():
            path.unlink(missing_ok=True)
            return None
        return path

    def _keep(self, key: str, pack: _Pack) -> None:
        self._packs[key] = pack
        self._packs.move_to_end(key)
        while len(self._packs) > PACKS_MAX:
            self._delete(next(iter(self._packs)))

    def _delete(self, key: str) -> None:
        pack = self._packs.pop(key)
        if pack.path is not None:
            pack.path.unlink(missing_ok=True)


def _packable(parts: Parts) -> list[PartOfDay]:
    """Those of counters on days that rarely change; none where it is not worth it."""
    newest = max((each.day for each in parts), default=None)
    if newest is None or parts[0].kind != "counters":
        return []
    found = [each for each in parts if each.day <= newest - timedelta(days=CHANGING_DAYS)]
    return found if len(found) >= PARTS_MIN and sum(each.part.bytes for each in found) <= BYTES_MAX else []
