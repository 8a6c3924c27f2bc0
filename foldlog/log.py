"""What the processes say: one JSON line an event on standard error, or words on a terminal. No personal data, ever."""

from __future__ import annotations

import sys
from typing import Any

import orjson
import structlog


def configure_log() -> None:
    """Once per process, before the first line."""
    terminal = sys.stderr.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(serializer=_json)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def get_log(component: str) -> Any:
    return structlog.get_logger(component=component)


def _json(value: Any, **_options: Any) -> str:
    return orjson.dumps(value, default=str).decode("utf-8")
