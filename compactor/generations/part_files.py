"""Publishing one part: the rows of a query as a Parquet file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date

from compactor.context import PassContext
from compactor.sql import sql_text
from shared.disk.durable import publishing
from shared.generations.part_integrity import record_written
from shared.generations.snapshot import Part
from shared.sql.memory import ROW_GROUP_BYTES
from shared.sql.texts import DICTIONARY_MAX

PART_VERSION = 2
# Version 2 of Parquet writes times as differences and ids without their lengths. After
# these encodings zstd level 1 leaves no larger files than level 3, and costs least.
_OPTIONS = {
    "FORMAT": "parquet",
    "COMPRESSION": "zstd",
    "COMPRESSION_LEVEL": "1",
    "PARQUET_VERSION": "v2",
    "ROW_GROUP_SIZE_BYTES": str(ROW_GROUP_BYTES),
    "DICTIONARY_SIZE_LIMIT": str(DICTIONARY_MAX),
}
# A Bloom filter says whether a row group can have a value. A part of few rows is read
# in less time than its filters take to write.
_FILTERED_ROWS_MIN = 20_000
COPY_OPTIONS = ", ".join(f"{name} {value}" for name, value in _OPTIONS.items())


def write_part(
    context: PassContext,
    kind: str,
    day: date,
    generation: int,
    sql: str,
    rows: int,
    notes: Mapping[str, str] | None = None,
    values: Mapping[str, object] | None = None,
) -> Part | None:
    """Publish the result of a query, with its parameters (`values`), as a part, or
    nothing when it has no rows. `notes` are written into the file, for a rebuild that
    has no snapshot.
    """
    if not rows:
        return None
    path = context.data.part(kind, day, generation)
    # Parts of version 1 have no such note.
    noted = {"version": str(PART_VERSION), **(notes or {})}
    metadata = ", ".join(f"{name}: {sql_text(text)}" for name, text in noted.items())
    filters = str(rows >= _FILTERED_ROWS_MIN).lower()
    options = f"{COPY_OPTIONS}, WRITE_BLOOM_FILTER {filters}, KV_METADATA {{{metadata}}}"
    with publishing(path) as beside:
        context.database.execute(f"COPY ({sql}) TO {sql_text(str(beside))} ({options})", values)
        with beside.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        part = Part(generation, rows, beside.stat().st_size, sha256, PART_VERSION)
    record_written(context.data, path, part)
    return part
