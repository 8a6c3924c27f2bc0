"""`foldlog token`: create, list and revoke tokens, with a PostgreSQL store those of all
its hosts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from foldlog.commands import Invocation
from foldlog.preflight import ensure_data_dir, require_data_dir
from foldlog.terminal import Console, table
from shared.disk.layout import DataDirectory
from shared.exit_codes import PROBLEMS, SUCCESS, UsageError
from shared.host_names import SITE, host_of
from shared.pixel_keys import PIXEL, USE
from shared.shared_tokens import create_shared_token, fetch_shared_tokens, load_shared_tokens, revoke_shared_token
from shared.stores.ledger import StoreUnavailable
from shared.tokens import Token, create_token, read_tokens, revoke_token


def run(call: Invocation) -> int:
    if call.options.action == "create":
        return _create(call)
    if call.options.action == "revoke":
        return _revoke(call)
    settings = call.settings
    in_settings = bool(settings.admin_token or settings.ingest_keys)
    data = require_data_dir(call.data)
    shared = _shared(call, data)
    found = read_tokens(data)
    show(Console(), found.tokens, in_settings=in_settings, shared=shared)
    if found.damage:
        print(f"foldlog: {data.tokens} {found.damage}; `foldlog doctor` says what to do", file=sys.stderr)
        return PROBLEMS
    return SUCCESS


def _create(call: Invocation) -> int:
    scope, (site, use) = call.options.scope, _pixel_use(call)
    data, store = ensure_data_dir(call.data), call.settings.hosts_database
    if store:
        token, secret = create_shared_token(data, store, scope, site, use)
    else:
        token, secret = create_token(data, scope, site, use)
    print(f"{secret}\n(id {token.id}, scope {token.scope}; shown once, only its hash is kept)")
    if token.scope == "pixel":
        print(f'For mail and <noscript>: <img src="https://stats.example.com{PIXEL}?k={secret}" alt="">')
    return SUCCESS


def _pixel_use(call: Invocation) -> tuple[str | None, str | None]:
    """Site and use of a pixel; of other tokens there is none."""
    site, use, sites = call.options.site, call.options.use, call.settings.sites
    if call.options.scope != "pixel":
        if site is not None or use is not None:
            raise UsageError("--site and --use are those of a pixel: add --scope pixel")
        return None, None
    site = host_of(site or "")
    if not SITE.fullmatch(site) or (sites and site not in sites):
        known = f"one of FOLDLOG_SITES ({', '.join(sites)})" if sites else "the host name of its site"
        raise UsageError(f"--scope pixel needs --site: {known}")
    if not USE.fullmatch(use or ""):
        raise UsageError("--scope pixel needs --use: NAME or NAME/CAMPAIGN, each 1 to 60 of A-Z a-z 0-9 _ . -")
    return site, use


def _revoke(call: Invocation) -> int:
    data, store, id_ = require_data_dir(call.data), call.settings.hosts_database, call.options.id
    if not (revoke_token(data, id_) or (store and revoke_shared_token(data, store, id_))):
        raise UsageError(f"there is no token with id {call.options.id}; `foldlog token list` shows them")
    return SUCCESS


def _shared(call: Invocation, data: DataDirectory) -> Sequence[Token] | None:
    """Tokens of all hosts; None without a store of several."""
    store = call.settings.hosts_database
    if not store:
        return None
    try:
        fetch_shared_tokens(data, store)
    except StoreUnavailable as error:
        print(f"{error}; shown is the last copy", file=sys.stderr)
    return load_shared_tokens(data, store)


def show(
    console: Console, tokens: Sequence[Token], *, in_settings: bool, shared: Sequence[Token] | None = None
) -> None:
    """`shared`: those of all hosts of a store, None without one."""
    columns = [("id", False), ("scope", False), ("created", False)]
    rows = [_row(token) for token in tokens]
    if shared is not None:
        columns.append(("valid on", False))
        rows = [_row(token, "this host") for token in tokens] + [_row(token, "all hosts") for token in shared]
    every = [*tokens, *(shared or ())]
    if any(token.use for token in every):
        columns += [("site", False), ("use", False)]
        rows = [(*row, token.site or "", token.use or "") for row, token in zip(rows, every, strict=True)]
    table(console, columns, rows)
    if in_settings:
        console.print("and those in FOLDLOG_ADMIN_TOKEN and FOLDLOG_INGEST_KEYS")


def _row(token: Token, *valid_on: str) -> tuple[str, ...]:
    return token.id, token.scope, token.created, *valid_on
