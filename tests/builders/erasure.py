"""Erasing a visitor, and searching every file for what is left."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

from compactor.erasure.rewrite import erase_pending
from compactor.lock import compactor_lock
from shared.disk.compression import decompressed_blocks
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.settings import Settings
from tests.builders.logs import NOON
from tests.builders.silent_log import SilentLog

VISITOR = "c0ffee-visitor-to-erase"


def erase(data: DataDirectory, now_ms: int = NOON + 7_200_000, log: SilentLog | None = None, **settings: Any) -> None:
    """Carry out all requests, as a pass does once everything is folded."""
    with compactor_lock(data) as lock:
        erase_pending(data, Settings(data_dir=data.root, **settings), log or SilentLog(), lock, now_ms)


def files_with(data: DataDirectory, text: str = VISITOR) -> list[str]:
    """Every file below the data directory that contains a text: in its bytes, inflated,
    decoded from base64, or in a column.
    """
    files = sorted(path for path in data.root.rglob("*") if path.is_file())
    with closing(connect(64 << 20, 1)) as database:
        found = [path for path in files if text.encode("utf-8") in _said_by(data, path, database)]
    return [str(path.relative_to(data.root)) for path in found]


def _said_by(data: DataDirectory, path: Path, database: duckdb.DuckDBPyConnection) -> bytes:
    content = path.read_bytes() + b"".join(decompressed_blocks(path, 1 << 20))
    if path.suffix == ".parquet":
        rows = database.execute("SELECT * FROM read_parquet($1)", [str(path)]).fetchall()
        content += repr(rows).encode("utf-8")
    if path.parent == data.quarantine and path.suffix == ".ndjson":
        content += b"".join(base64.b64decode(json.loads(record)["base64"]) for record in path.read_bytes().splitlines())
    return content
