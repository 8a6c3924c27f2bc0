"""Archive parts of retired instances, without visitors who are to be erased."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

from reports.hosts.erased import ErasedVisitor
from reports.sql.duckdb.erased import copy_without, find_one_of
from shared.duckdb_engine import connect

MEMORY_BYTES = 256 << 20


def without_visitors(path: Path, within: Path, erased: tuple[ErasedVisitor, ...]) -> Path:
    """The part as another file `within` a directory; itself, where it has none of
    them.
    """
    named = hashlib.sha256(repr(erased).encode("utf-8")).hexdigest()
    copied = within / f"{path.stem}-{named}.parquet"
    if copied.exists():
        return copied
    beside = copied.with_suffix(".part")
    found, statement = find_one_of(erased, str(path)), copy_without(erased, str(path), str(beside))
    with closing(connect(MEMORY_BYTES, 1)) as database:
        if not database.execute(found.text, found.parameters.values).fetchall():
            return path
        database.execute(statement.text, statement.parameters.values)
    return beside.rename(copied)
