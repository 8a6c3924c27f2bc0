"""`foldlog token`: tokens are made, listed and revoked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from foldlog.preflight import ensure_data_dir, require_data_dir
from foldlog.terminal import table
from shared.disk.layout import DataDirectory
from shared.exit_codes import SUCCESS, UsageError
from shared.log import Log
from shared.settings import Settings
from shared.tokens import Token, create_token, load_tokens, revoke_token


def run(given: argparse.Namespace, settings: Settings, data: DataDirectory, _log: Log) -> int:
    """Returns the exit code."""
    if given.action == "create":
        token, secret = create_token(ensure_data_dir(data), given.scope)
        print(f"{secret}\n(id {token.id}, scope {token.scope}; shown once, only its hash is kept)")
        return SUCCESS
    if given.action == "revoke":
        if not revoke_token(require_data_dir(data), given.id):
            raise UsageError(f"there is no token with id {given.id}; `foldlog token list` shows them")
        return SUCCESS
    kept = load_tokens(require_data_dir(data))
    show(Console(), kept, from_settings=bool(settings.admin_token or settings.ingest_keys))
    return SUCCESS


def show(console: Console, kept: Sequence[Token], *, from_settings: bool) -> None:
    table(
        console,
        [("id", False), ("scope", False), ("created", False)],
        [(token.id, token.scope, token.created) for token in kept],
    )
    if from_settings:
        console.print("and those in FOLDLOG_ADMIN_TOKEN and FOLDLOG_INGEST_KEYS")
