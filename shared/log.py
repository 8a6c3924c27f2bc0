"""The operator's log, as every module of every process writes to it.

foldlog/log_output.py says where the lines go. A line names no person, and nothing that
a client sent stands in it unescaped.
"""

from __future__ import annotations

from typing import Protocol


class Log(Protocol):
    """One event a call, with its fields. A call neither raises nor waits."""

    def debug(self, event: str, **fields: object) -> object: ...

    def info(self, event: str, **fields: object) -> object: ...

    def warning(self, event: str, **fields: object) -> object: ...

    def error(self, event: str, **fields: object) -> object: ...
