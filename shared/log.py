"""The operator's log, as modules of all processes see it.

foldlog/log_output.py says where the lines go. A line names no person, and nothing that
a client sent stands in it unescaped.
"""

from __future__ import annotations

from typing import Protocol


class Log(Protocol):
    """Each call logs one event with its fields. It neither raises nor blocks."""

    def debug(self, event: str, **fields: object) -> object: ...

    def info(self, event: str, **fields: object) -> object: ...

    def warning(self, event: str, **fields: object) -> object: ...

    def error(self, event: str, **fields: object) -> object: ...
