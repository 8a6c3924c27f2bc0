"""`foldlog check-config`: every setting in force."""

from __future__ import annotations

import argparse
from dataclasses import fields

from rich.console import Console

from foldlog.terminal import table
from shared.disk.layout import DataDirectory
from shared.exit_codes import SUCCESS
from shared.log import Log
from shared.settings import Settings

_SECRET = {"admin_token", "ingest_keys"}


def run(_given: argparse.Namespace, settings: Settings, _data: DataDirectory, _log: Log) -> int:
    """Returns the exit code."""
    show(Console(), settings)
    return SUCCESS


def show(console: Console, found: Settings) -> None:
    """Every setting in force. Secrets show only whether they are set."""
    rows = [
        (f"FOLDLOG_{field.name.upper()}", _setting(field.name, getattr(found, field.name))) for field in fields(found)
    ]
    table(console, [("", False), ("", False)], rows)


def _setting(name: str, value: object) -> str:
    if name in _SECRET:
        return "(set)" if value else "(not set)"
    if isinstance(value, tuple):
        separator = {"listen": ":", "consent_cookie": "="}.get(name, " ")
        return separator.join(str(part) for part in value)
    return str(value)
