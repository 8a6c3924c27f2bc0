"""Between a worker and its reader process: a request is one JSON line; a response is
one JSON line, then the bytes of the report.

An export has a process of its own: its output is the export alone, its outcome the exit
code.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

EXIT_DAMAGED = 3
EXIT_REPLACED = 4  # parts were replaced again and again while they were read


class ReaderRequest(msgspec.Struct):
    """One report or export. `parameters` are those of the URL; a time without dates is
    counted from `now`.
    """

    kind: Literal["report", "export"]
    data_dir: str
    timezone: str
    memory_bytes: int
    format: str
    parameters: dict[str, str]
    now: datetime


class ReaderResponse(msgspec.Struct):
    """`bytes` of the report follow. With a `code` of docs/api.md there is no report,
    and `detail` is the reason for the client.
    """

    code: str
    detail: str
    bytes: int
