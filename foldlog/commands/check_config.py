"""`foldlog check-config`: every setting in force."""

from __future__ import annotations

from dataclasses import fields

from foldlog.commands import Invocation
from foldlog.terminal import Console, pairs
from shared.exit_codes import SUCCESS
from shared.rate_store import require_package, without_secrets
from shared.settings import SECRETS, Settings
from shared.stores.address import shown_address

_SEPARATORS = {"listen": ":", "consent_cookie": "="}


def run(call: Invocation) -> int:
    show(Console(), call.settings)
    require_package(call.settings.rate_store)
    return SUCCESS


def show(console: Console, settings: Settings) -> None:
    """Name and value of each setting. Of a secret only whether it is set."""
    pairs(
        console,
        [
            (f"FOLDLOG_{each.name.upper()}", _shown(each.name, getattr(settings, each.name)))
            for each in fields(settings)
        ],
    )


def _shown(name: str, value: object) -> str:
    if name == "store":
        return shown_address(str(value))
    if name == "rate_store":
        return without_secrets(str(value))
    if name in SECRETS:
        return "(set)" if value else "(not set)"
    if isinstance(value, tuple):
        return _SEPARATORS.get(name, " ").join(str(part) for part in value)
    return str(value)
