"""`foldlog token`: create, list and revoke tokens."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from foldlog.commands import Invocation
from foldlog.preflight import ensure_data_dir, require_data_dir
from foldlog.terminal import table
from shared.exit_codes import SUCCESS, UsageError
from shared.tokens import Token, create_token, load_tokens, revoke_token


def run(call: Invocation) -> int:
    if call.options.action == "create":
        return _create(call)
    if call.options.action == "revoke":
        return _revoke(call)
    settings = call.settings
    in_settings = bool(settings.admin_token or settings.ingest_keys)
    show(Console(), load_tokens(require_data_dir(call.data)), in_settings=in_settings)
    return SUCCESS


def _create(call: Invocation) -> int:
    token, secret = create_token(ensure_data_dir(call.data), call.options.scope)
    print(f"{secret}\n(id {token.id}, scope {token.scope}; shown once, only its hash is kept)")
    return SUCCESS


def _revoke(call: Invocation) -> int:
    if not revoke_token(require_data_dir(call.data), call.options.id):
        raise UsageError(f"there is no token with id {call.options.id}; `foldlog token list` shows them")
    return SUCCESS


def show(console: Console, tokens: Sequence[Token], *, in_settings: bool) -> None:
    columns = [("id", False), ("scope", False), ("created", False)]
    table(console, columns, [(token.id, token.scope, token.created) for token in tokens])
    if in_settings:
        console.print("and those in FOLDLOG_ADMIN_TOKEN and FOLDLOG_INGEST_KEYS")
