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
from shared.host_names import host_of, is_site
from shared.pixel_keys import PIXEL, USE
from shared.shared_tokens import create_shared_token, fetch_shared_tokens, load_shared_tokens, revoke_shared_token
from shared.stores.ledger import StoreUnavailable
from shared.tokens import BY_SITE, SITES_MAX, Token, create_token, read_tokens, revoke_token


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
    scope, (site, use), sites = call.options.scope, _pixel_use(call), _sites(call)
    data, store = ensure_data_dir(call.data), call.settings.hosts_database
    if store:
        token, secret = create_shared_token(data, store, scope, site, use, sites)
    else:
        token, secret = create_token(data, scope, site, use, sites)
    only = f" for {', '.join(token.sites)}" if token.sites else ""
    print(f"{secret}\n(id {token.id}, scope {token.scope}{only}; shown once, only its hash is kept)")
    if token.scope == "pixel":
        print(f'For mail and <noscript>: <img src="https://stats.example.com{PIXEL}?k={secret}" alt="">')
    return SUCCESS


def _pixel_use(call: Invocation) -> tuple[str | None, str | None]:
    """Site and use of a pixel; of other tokens there is none."""
    given, use = call.options.site or [], call.options.use
    if call.options.scope != "pixel":
        if use is not None:
            raise UsageError("--use is that of a pixel: add --scope pixel")
        return None, None
    if len(given) != 1 or not is_site(site := host_of(given[0]), call.settings.sites):
        raise UsageError(f"--scope pixel needs --site: {_known_sites(call)}")
    if not USE.fullmatch(use or ""):
        raise UsageError("--scope pixel needs --use: NAME or NAME/CAMPAIGN, each 1 to 60 of A-Z a-z 0-9 _ . -")
    return site, use


def _sites(call: Invocation) -> tuple[str, ...]:
    """Those that a token to read or administer is for; none for all."""
    scope, given = call.options.scope, tuple(host_of(each) for each in call.options.site or ())
    if not given or scope == "pixel":
        return ()
    if scope not in BY_SITE:
        raise UsageError("--site goes with --scope read, admin or pixel: a sender says the site of each event")
    if len(given) > SITES_MAX or not all(is_site(each, call.settings.sites) for each in given):
        raise UsageError(f"--site: up to {SITES_MAX} times {_known_sites(call)}")
    return given


def _known_sites(call: Invocation) -> str:
    sites = call.settings.sites
    return f"one of FOLDLOG_SITES ({', '.join(sites)})" if sites else "the host name of its site"


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
        columns.append(("use", False))
        rows = [(*row, token.use or "") for row, token in zip(rows, every, strict=True)]
    if any(token.site or token.sites for token in every):
        columns.append(("site", False))
        rows = [(*row, token.site or ", ".join(token.sites)) for row, token in zip(rows, every, strict=True)]
    table(console, columns, rows)
    if in_settings:
        console.print("and those in FOLDLOG_ADMIN_TOKEN and FOLDLOG_INGEST_KEYS")


def _row(token: Token, *valid_on: str) -> tuple[str, ...]:
    return token.id, token.scope, token.created, *valid_on
