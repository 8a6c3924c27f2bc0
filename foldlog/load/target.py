"""The server that is loaded, and what it counted."""

from __future__ import annotations

import http.client
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode, urlsplit

import msgspec
import orjson

from foldlog.load import EVENT_NAME
from foldlog.load.plan import AGENT
from foldlog.processes import lock_holder
from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure
from shared.settings import Settings, SettingsError, format_address

LOOPBACK = ("127.0.0.1", "::1", "localhost")
# The server waits up to 10 s for its writers and 120 s for the compactor.
FOLD_TIMEOUT_S = 150.0


class BenchError(TemporaryFailure):
    """The load could not be generated, or the server did not answer."""


class Target(msgspec.Struct, kw_only=True, frozen=True):
    """A server on this host. `headers` are whole lines that authorise writing; `token`
    authorises reading and folding, or else `other_token` does.

    `server_pid` is the `foldlog serve` that is sampled together with its children.
    """

    host: str
    port: int
    headers: str
    token: str | None = None
    other_token: str | None = None
    server_pid: int | None = None

    @property
    def url(self) -> str:
        return f"http://{format_address(self.host, self.port)}"


def make_target(url: str | None, key: str | None, origin: str | None, settings: Settings) -> Target:
    """The server, and how to write to it: with a key, or as a page of `origin`. Raises
    SettingsError.
    """
    try:
        found = urlsplit(url or settings.dashboard)
        address = (found.hostname, found.port or 80)
    except ValueError as error:
        raise SettingsError(f"{url}: not the URL of a server ({error})") from None
    if found.scheme != "http" or address[0] not in LOOPBACK:
        raise SettingsError(
            f"{url or settings.dashboard}: `foldlog bench` loads http servers on this host only ({LOOPBACK[0]})"
        )
    own = [settings.admin_token, *settings.ingest_keys]
    given, key = key, key or next((secret for secret in own if secret), None)
    if not key and not origin:
        raise SettingsError("nothing to write with: add --key-file with a key, or --origin with the origin of a page")
    authorisation = f"Origin: {origin}\r\n" if origin else f"Authorization: Bearer {key}\r\n"
    head = f"Host: {found.netloc}\r\nUser-Agent: {AGENT}\r\nAccept-Language: de-DE,de;q=0.9\r\n{authorisation}"
    pid = lock_holder(DataDirectory(settings.data_dir).serve_lock) if url is None else None
    return Target(
        host=address[0],
        port=address[1],
        headers=head,
        token=settings.admin_token or key,
        other_token=given if settings.admin_token else None,
        server_pid=pid,
    )


def ask(
    target: Target, method: str, path: str, timeout_s: float = FOLD_TIMEOUT_S, token: str | None = None
) -> tuple[int, bytes]:
    """Send a request with the token of the target, or another. Returns status and body;
    raises BenchError when there is no answer.
    """
    connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout_s)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token or target.token}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{target.url} does not answer: {error!r}") from None
    finally:
        connection.close()


def fold_and_count(target: Target, since: date | None = None) -> int | None:
    """Fold, then count the events of benchmarks, including all accepted before. None
    when no token permits it. Raises BenchError when the fold failed.

    Counts that are compared begin on the same day, `since`: the later one may be asked
    for after midnight.
    """
    if _allowed(target, "POST", "/admin/api/fold") is None:
        return None
    return count_events(target, since)


def count_events(target: Target, since: date | None = None) -> int | None:
    """The same without the fold."""
    today = datetime.now(UTC).date()
    query = {"event": EVENT_NAME, "bots": "include", "tz": "UTC"}
    query |= {"from": str(since or today - timedelta(days=1)), "to": str(today + timedelta(days=1))}
    content = _allowed(target, "GET", f"/admin/api/report?{urlencode(query)}")
    return None if content is None else int(orjson.loads(content)["total"]["events"])


def _allowed(target: Target, method: str, path: str) -> bytes | None:
    for token in (target.token, target.other_token):
        if token is None:
            continue
        status, content = ask(target, method, path, token=token)
        if status not in {401, 403}:
            break
    else:
        return None
    if status != 200:
        raise BenchError(
            f"{method} {path.partition('?')[0]} was answered with {status}: {content[:300].decode('utf-8', 'replace')}"
        )
    return content
