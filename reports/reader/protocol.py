"""Between a worker and its reader process: a request is one JSON line; a response is
one JSON line, then the bytes of the report.

An export has a process of its own. Its response comes with the first byte of the
export, which ends with the output; the exit code says whether it is whole.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from shared.stores.address import FILE


class ReaderRequest(msgspec.Struct):
    """One report or export. `parameters` are those of the URL; a time without dates is
    counted from `now`. `disk_reserve`: the bytes that what it spills leaves free.
    `store` is FOLDLOG_STORE with its password; of parts of other hosts `store_cache`
    bytes are kept. `environ` is what the driver of the store reads from there.
    """

    kind: Literal["report", "export"]
    data_dir: str
    timezone: str
    memory_bytes: int
    disk_reserve: int
    format: str
    parameters: dict[str, str]
    now: datetime
    store: str = FILE
    store_cache: int = 0
    environ: dict[str, str] = {}


class ReaderResponse(msgspec.Struct):
    """`bytes` of the report follow, or an export of any length. With a `code` of
    docs/api.md there is neither, and `detail` is the reason for the client.
    """

    code: str
    detail: str
    bytes: int
