"""What a worker and its reading process say to each other: one JSON line a question,
one JSON line and then bytes an answer.

An export has a process of its own; how it went is its exit code.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

EXIT_DAMAGED = 3
EXIT_SWEPT = 4


class Question(msgspec.Struct):
    """One thing to read. `parameters` are those of the URL; days without a date count
    from `now`.
    """

    kind: Literal["report", "export"]
    data_dir: str
    timezone: str
    memory_bytes: int
    format: str
    parameters: dict[str, str]
    now: datetime


class Answer(msgspec.Struct):
    """How it went; `bytes` of content follow. `code` is empty when it went well, else
    `detail` is for the client.
    """

    code: str
    detail: str
    bytes: int
